"""Pruning and low depth on Ethos-U: what layers take whose weights have few bits, few values or many zeros.

    python -m benchmarks.nna.depth [--accelerators ethos-u55-128] [--json out.json]

Four layers with random weights, in ten forms each. Weights: coded bytes beside the entropy of their values. Cycles and
bytes of flash or DRAM are estimated, of our stream and of Vela's for the same layer (estimate.py); the last column is
what Vela estimates for its own. Nothing here was measured on a device.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.nna.export import to_tflite
from benchmarks.nna.vela import compile_model
from tilewright.integer.elementwise import Affine
from tilewright.integer.network import Convolution, Map, Network
from tilewright.integer.rounding import Int
from tilewright.integer.windows import Window
from tilewright.lower.ethosu import compile_network
from tilewright.lower.ethosu.estimate import Memories, estimate
from tilewright.lower.ethosu.jobs import read


@dataclass(frozen=True)
class Shape:
    """A layer: side of its maps, input and output channels, side of its kernel."""

    size: int
    depth: int
    channels: int
    kernel: int
    depthwise: bool = False


LAYERS = {
    "1 x 1, 28 x 28, 40 to 240": Shape(28, 40, 240, 1),
    "3 x 3, 14 x 14, 96 to 96": Shape(14, 96, 96, 3),
    "depthwise 5 x 5, 14 x 14, 672": Shape(14, 672, 672, 5, True),
    "fully connected, 1280 to 1000": Shape(1, 1280, 1000, 1),
}


def integers(bits: int) -> Callable[[Any], Int]:
    """Normal weights as integers: the greatest of so many bits is at four (2 bits: two) standard deviations."""
    most = 2 ** (bits - 1) - 1

    def quantize(normal: Any) -> Int:
        step = 2.0 if bits == 2 else 4.0 / most
        return np.asarray(np.clip(np.rint(normal / step), -most, most), np.int64)

    return quantize


def clustered(count: int) -> Callable[[Any], Int]:
    """So many values of 8 bits, each for as many weights: quantiles of the normal distribution."""

    def quantize(normal: Any) -> Int:
        wide = integers(8)(normal)
        edges = np.quantile(normal, np.arange(1, count) / count)
        group = np.searchsorted(edges, normal)
        means = [wide[group == index].mean() if (group == index).any() else 0 for index in range(count)]
        return np.asarray(np.rint(np.array(means)[group]), np.int64)

    return quantize


def sparse(bits: int, density: float) -> Callable[[Any], Int]:
    """The least in magnitude are zero."""

    def quantize(normal: Any) -> Int:
        bound = np.quantile(np.abs(normal), 1 - density)
        return np.where(np.abs(normal) < bound, 0, integers(bits)(normal))

    return quantize


FORMS: dict[str, Callable[[Any], Int]] = {
    **{f"{bits} bits": integers(bits) for bits in range(8, 1, -1)},
    "16 values of 8 bits": clustered(16),
    "8 bits, 90 % zeros": sparse(8, 0.1),
    "4 bits, 90 % zeros": sparse(4, 0.1),
}


@dataclass(frozen=True)
class Row:
    """A layer in one form; bytes are of its weights, and what is read and written outside of the chip."""

    accelerator: str
    layer: str
    form: str
    coded: int
    entropy: float
    cycles: int
    external: int
    vela_stream_cycles: int
    vela_stream_external: int
    vela_cycles: float

    @property
    def bits(self) -> float:
        """Of a weight, coded."""
        shape = LAYERS[self.layer]
        weights = shape.kernel**2 * shape.channels * (1 if shape.depthwise else shape.depth)
        return 8 * self.coded / weights


def measure(layer: str, form: str, accelerator: str, folder: Path) -> Row:
    """Compiles a layer both ways."""
    network = network_of(LAYERS[layer], FORMS[form])
    (ours,) = compile_network(network, accelerator).layers
    vela = compile_model(to_tflite(network), accelerator, "regor", folder)
    theirs = estimate(read(vela.payload), accelerator, Memories(frozenset({vela.weight_region}), vela.fast))
    return Row(
        accelerator, layer, form, ours.weight_bytes, ours.entropy_bytes, ours.estimate.cycles, ours.estimate.external,
        sum(cost.cycles for cost in theirs), sum(cost.external for cost in theirs), vela.cycles,
    )  # fmt: skip


def network_of(shape: Shape, quantize: Callable[[Any], Int]) -> Network:
    """The layer as a network."""
    random = np.random.default_rng(0)
    deep = 1 if shape.depthwise else shape.depth
    weights = quantize(random.normal(size=(shape.channels, shape.kernel, shape.kernel, deep)))
    affine = Affine(0.05, 3, "int8")
    maps = (
        Map("x", (shape.size, shape.size, shape.depth), affine),
        Map("y", (shape.size, shape.size, shape.channels), affine),
    )
    window = Window.same((shape.size, shape.size), (shape.kernel, shape.kernel), (1, 1))
    output = affine.requantize(1 / (60 * shape.kernel * np.sqrt(deep)))
    bias = random.integers(-3000, 3000, shape.channels)
    layer = Convolution("layer", 0, 1, weights, bias, window, output, shape.depthwise)
    return Network(maps, (0,), (1,), (layer,))


def table(rows: list[Row]) -> Table:
    """For the terminal."""
    out = Table("layer", "weights", title=f"{rows[0].accelerator}: coded weights; estimated cycles and traffic")
    for heading in (
        "coded", "entropy", "bits", "cycles", "traffic", "Vela's stream", "traffic", "Vela says"
    ):  # fmt: skip
        out.add_column(heading, justify="right")
    for row in rows:
        figures = (row.coded, row.entropy)
        rest = (row.cycles, row.external, row.vela_stream_cycles, row.vela_stream_external, row.vela_cycles)
        cells = [f"{figure:,.0f}" for figure in rest]
        first = row.layer if row.form == next(iter(FORMS)) else ""
        out.add_row(first, row.form, *(f"{figure:,.0f}" for figure in figures), f"{row.bits:.2f}", *cells)
    return out


def main() -> int:
    """Returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--accelerators", default="ethos-u55-128")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    everything = []
    for accelerator in args.accelerators.split(","):
        with tempfile.TemporaryDirectory() as folder:
            rows = [measure(layer, form, accelerator, Path(folder)) for layer in LAYERS for form in FORMS]
        Console().print(table(rows))
        everything += rows
    if args.json:
        args.json.write_text(json.dumps([asdict(row) for row in everything], indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
