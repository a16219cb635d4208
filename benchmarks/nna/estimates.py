"""Our estimates of Vela's streams beside what Vela estimates for them itself.

    python -m benchmarks.nna.estimates [--networks mobile,wide] [--accelerators ethos-u55-128]

Both of Vela's compilers estimate before they write a stream: the one in Python with the functions that ours calls, the
present one with a model of its own in C++. The table gives ratios; nothing here was measured on a device.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.nna.networks import NETWORKS
from benchmarks.nna.proof import inputs_of
from benchmarks.nna.vela import ACCELERATORS, compile_model
from tilewright.lower.ethosu.estimate import Memories, estimate
from tilewright.lower.ethosu.jobs import read

_CORES = {"regor": "present (C++)", "legacy": "former (Python)"}


def ratio(network: str, accelerator: str, core: str, folder: Path) -> float:
    """Our cycles of Vela's stream over Vela's own.

    Raises:
        RuntimeError: Vela failed.
    """
    compiled = compile_model(NETWORKS[network](), accelerator, core, folder)
    memories = Memories(frozenset({compiled.weight_region}), compiled.fast)
    return sum(cost.cycles for cost in estimate(read(compiled.payload), accelerator, memories)) / compiled.cycles


def main() -> int:
    """Returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", default=",".join(NETWORKS))
    parser.add_argument("--accelerators", default=",".join(ACCELERATORS))
    args = parser.parse_args()
    accelerators = args.accelerators.split(",")
    console = Console()
    for core, title in _CORES.items():
        table = Table("network", title=f"Our cycles over Vela's own estimate, of streams of its {title} compiler")
        for accelerator in accelerators:
            table.add_column(accelerator, justify="right")
        found: list[float] = []
        for network in args.networks.split(","):
            if core == "legacy" and inputs_of(network) > 1:
                continue  # its raw output has several streams, or does not tell inputs apart
            with tempfile.TemporaryDirectory() as folder:
                try:
                    ratios = [ratio(network, accelerator, core, Path(folder)) for accelerator in accelerators]
                except RuntimeError as error:
                    console.print(f"{network}: {str(error).strip().splitlines()[-1]}", style="dim")
                    continue
            found += ratios
            table.add_row(network, *(f"{each:.2f}" for each in ratios))
        console.print(table)
        if found:
            console.print(f"from {min(found):.2f} to {max(found):.2f}, median {statistics.median(found):.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
