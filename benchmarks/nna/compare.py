"""Our command streams beside Vela's, for the same quantized network.

    python -m benchmarks.nna.compare quantized.onnx [--accelerators ethos-u55-256] [--json out.json]

The model is in the QDQ form, as ``tilewright compress --recipe int8`` writes it. Its largest integer part is compiled
by tilewright, and exported to TFLite (the same integers) and compiled by Vela. Flash holds weights, scales and the
stream; memory activations, with Vela's copies of weights. Cycles are Vela's estimate of its own schedule; ours has
none. Bar: flash at most 5 % over Vela's.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.nna.export import to_tflite
from benchmarks.nna.vela import ACCELERATORS, compile_model
from tilewright import frontend
from tilewright.frontend.quantized import offload
from tilewright.integer.network import Network
from tilewright.lower.ethosu import compile_network

BAR = 1.05


@dataclass(frozen=True)
class Row:
    """One accelerator: bytes of ours and of Vela's."""

    accelerator: str
    layers: int
    flash: int
    vela_flash: int
    memory: int
    vela_memory: int
    vela_cycles: float

    @property
    def holds(self) -> bool:
        return self.flash <= BAR * self.vela_flash


def compare(network: Network, accelerator: str, folder: Path) -> Row:
    """Compiles a network both ways."""
    ours = compile_network(network, accelerator)
    maps = sum(network.maps[index].nbytes for index in (*network.inputs, *network.outputs))
    out = Path(tempfile.mkdtemp(dir=folder))
    vela = compile_model(to_tflite(network), accelerator, "regor", out)
    (path,) = out.rglob("*summary*.csv")
    with path.open() as file:
        cycles = float(next(csv.DictReader(file))["cycles_total"])
    return Row(
        accelerator,
        len(network.operations),
        len(ours.weights) + len(ours.payload),
        vela.weights.size + len(vela.payload),
        ours.scratch_bytes + maps,
        sum(vela.scratch.values()),
        cycles,
    )


def largest(path: Path) -> Network:
    """The integer part of a model with the most operations."""
    found: list[Network] = []

    class Nothing:
        payload = weights = b""
        scratch_bytes, layers = 0, ()

    def keep(network: Network) -> Nothing:
        found.append(network)
        return Nothing()

    offload(frontend.load(path), keep)
    return max(found, key=lambda network: len(network.operations))


def main() -> int:
    """Returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--accelerators", default=",".join(ACCELERATORS))
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    network = largest(args.model)
    with tempfile.TemporaryDirectory() as folder:
        rows = [compare(network, accelerator, Path(folder)) for accelerator in args.accelerators.split(",")]
    table = Table("accelerator", "layers", title="Bytes of ours and of Vela's; cycles that Vela estimates for its own")
    for heading in ("flash", "Vela", "ratio", "memory", "Vela", "cycles"):
        table.add_column(heading, justify="right")
    for row in rows:
        ratio = f"{row.flash / row.vela_flash:.3f}"
        table.add_row(
            row.accelerator, str(row.layers), f"{row.flash:,}", f"{row.vela_flash:,}", ratio, f"{row.memory:,}",
            f"{row.vela_memory:,}", f"{row.vela_cycles:,.0f}",
        )  # fmt: skip
    Console().print(table)
    if args.json:
        args.json.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")
    return int(not all(row.holds for row in rows))


if __name__ == "__main__":
    sys.exit(main())
