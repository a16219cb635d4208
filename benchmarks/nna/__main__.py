"""Runs every network through Vela and the interpreter, against LiteRT's reference kernels.

    python -m benchmarks.nna [--networks mobile,wide] [--accelerators ethos-u55-128] [--rounds 2] [--json out.json]

Needs ``pip install -e '.[nna]'``. Bar: no output differs. Both of Vela's compilers are run; the legacy one on networks
with one input, since its raw output does not tell inputs apart. Exit code 1 if an output differs or Vela fails.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.nna.networks import NETWORKS
from benchmarks.nna.proof import Result, inputs_of, prove
from benchmarks.nna.vela import ACCELERATORS


def main() -> int:
    """Returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", default=",".join(NETWORKS))
    parser.add_argument("--accelerators", default=",".join(ACCELERATORS))
    parser.add_argument("--rounds", type=int, default=2, help="random inputs for each network")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    args = parser.parse_args()
    console, results, failures = Console(stderr=True), [], []
    with tempfile.TemporaryDirectory() as folder:
        for network in args.networks.split(","):
            cores = ("regor", "legacy") if inputs_of(network) == 1 else ("regor",)
            for accelerator in args.accelerators.split(","):
                for core in cores:
                    console.print(f"{network} {accelerator} {core}", style="dim")
                    try:
                        results.append(prove(network, accelerator, core, Path(folder), args.rounds))
                    except RuntimeError as error:
                        failures.append((network, accelerator, core, str(error).strip().splitlines()[-1]))
    Console().print(table(results))
    for failure in failures:
        Console().print("Vela failed:", *failure)
    if args.json:
        args.json.write_text(json.dumps([dataclasses.asdict(result) for result in results], indent=1) + "\n")
    return int(any(result.differing for result in results) or any(core == "regor" for _, _, core, _ in failures))


def table(results: list[Result]) -> Table:
    """A row for each network: sums over accelerators and compilers."""
    out = Table(title="Vela's streams on the interpreter (simulated), against LiteRT's reference kernels")
    for column in ("network", "streams", "outputs", "differing", "distinct", "weight bytes"):
        out.add_column(column, justify="left" if column == "network" else "right", no_wrap=True)
    for network in dict.fromkeys(result.network for result in results):
        rows = [result for result in results if result.network == network]
        figures = (
            len(rows),
            sum(row.compared for row in rows),
            sum(row.differing for row in rows),
            min(row.distinct for row in rows),
            max(row.weight_bytes for row in rows),
        )
        out.add_row(network, *map(str, figures))
    return out


if __name__ == "__main__":
    sys.exit(main())
