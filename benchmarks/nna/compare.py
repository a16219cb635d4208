"""Our command streams beside Vela's, for the same quantized network.

    python -m benchmarks.nna.compare quantized.onnx [--accelerators ethos-u55-256] [--json out.json]

The model is in the QDQ form, as ``tilewright compress --recipe int8`` writes it. Its largest integer part is compiled
by tilewright, and exported to TFLite (the same integers) and compiled by Vela. Flash holds weights, scales and the
stream; memory activations and copies of weights. Cycles and traffic are estimated, of both streams in the same way
(compiler/lower/ethosu/estimate.py); beside them, what Vela says of its own. Bar: flash and cycles at most 5 % over
Vela's.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import reduce
from operator import add
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.nna.export import to_tflite
from benchmarks.nna.vela import ACCELERATORS, compile_model
from tilewright import frontend
from tilewright.frontend.quantized import offload
from tilewright.integer.network import Network
from tilewright.lower.ethosu import CAPABILITIES, compile_network
from tilewright.lower.ethosu.estimate import Cost, Memories, estimate
from tilewright.lower.ethosu.jobs import read

BAR = 1.05


@dataclass(frozen=True)
class Side:
    """One compiler's result: bytes of flash and of memory, and the estimate of its stream."""

    flash: int
    memory: int
    cost: Cost


@dataclass(frozen=True)
class Row:
    """One accelerator: ours and Vela's, and the cycles that Vela itself estimates."""

    accelerator: str
    layers: int
    ours: Side
    vela: Side
    vela_cycles: float

    @property
    def holds(self) -> bool:
        cycles = self.ours.cost.cycles <= BAR * self.vela.cost.cycles
        return cycles and self.ours.flash <= BAR * self.vela.flash


def compare(network: Network, accelerator: str, folder: Path) -> Row:
    """Compiles a network both ways."""
    ours = compile_network(network, accelerator)
    maps = sum(network.maps[index].nbytes for index in (*network.inputs, *network.outputs))
    vela = compile_model(to_tflite(network), accelerator, "regor", folder)
    mine = [layer.estimate for layer in ours.layers]
    memories = Memories(frozenset({vela.weight_region}), vela.fast)
    theirs = estimate(read(vela.payload), accelerator, memories)
    return Row(
        accelerator,
        len(network.operations),
        Side(
            len(ours.weights) + len(ours.payload),
            sum(ours.workspaces) + maps,
            _total(mine),
        ),
        Side(vela.weights.size + len(vela.payload), sum(vela.scratch.values()), _total(theirs)),
        vela.cycles,
    )


def _total(costs: Sequence[Cost]) -> Cost:
    return reduce(add, costs, Cost())


def largest(path: Path) -> Network:
    """The integer part of a model with the most operations."""
    found: list[Network] = []

    class Nothing:
        payload = weights = b""
        workspaces, layers = (0,), ()

    def keep(network: Network) -> Nothing:
        found.append(network)
        return Nothing()

    offload(frontend.load(path), keep, CAPABILITIES)
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
    table = Table("accelerator", "layers", title="Bytes, and estimated cycles and traffic: ours, Vela's, ratio")
    for heading in ("flash", "memory", "cycles", "flash, DRAM traffic", "SRAM traffic", "Vela's own cycles"):
        table.add_column(heading, justify="right")
    for row in rows:
        pairs = [
            (row.ours.flash, row.vela.flash),
            (row.ours.memory, row.vela.memory),
            (row.ours.cost.cycles, row.vela.cost.cycles),
            (row.ours.cost.external, row.vela.cost.external),
            (row.ours.cost.sram, row.vela.cost.sram),
        ]
        cells = (f"{a:,}\n{b:,}\n{f'{a / b:.3f}' if b else ''}" for a, b in pairs)
        table.add_row(row.accelerator, str(row.layers), *cells, f"{row.vela_cycles:,.0f}")
    Console().print(table)
    if args.json:
        args.json.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")
    return int(not all(row.holds for row in rows))


if __name__ == "__main__":
    sys.exit(main())
