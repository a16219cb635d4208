"""Which blocks to prune by: speed of each shape beside the magnitude that it keeps of real networks.

    python -m benchmarks.block_shapes [--layer FC7] [--shape 16x4 4x4] [--kept minilm-l6-v2 efficientnet-lite0]
                                      [--rounds 15] [--json out.json]

Speed is that of one layer at a density of 10 %, fp32 and int8, CPU time by onnxruntime fp32's in the same rounds
(layer_table.py). ``--kept`` adds what 10 % of the weights of real networks carry of the magnitude (sum of |w|) in such
blocks: as the matrices are, pivoted within the network, pivoted with every order free, and single weights as the limit.
It searches for minutes a network and shape. Nothing here is a bar.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.table import Table

from benchmarks import conv, fc, pivot
from benchmarks.layer_table import console, machine, measure
from benchmarks.layers import Block, Form, Layer

SHAPES: dict[int, tuple[Block, ...]] = {
    8: ((8, 1), (2, 4)),
    16: ((16, 1), (8, 2), (4, 4), (1, 16)),
    32: ((32, 1), (8, 4)),
    64: ((16, 4), (8, 8), (32, 2)),
}
"""By weights in a block."""

LAYERS: dict[str, Layer] = {**{name: fc.layer(name, 1) for name in fc.SIZES}, **conv.LAYERS}
DENSITY = pivot.DENSITY


@dataclass(frozen=True)
class Shape:
    """Figures of one block shape.

    Attributes:
        fp32, int8: CPU time by onnxruntime fp32's, by layer.
        kept: shares of the magnitude by network, as pivot.Kept has them.
    """

    block: Block
    fp32: dict[str, float]
    int8: dict[str, float]
    kept: dict[str, pivot.Kept]

    @property
    def name(self) -> str:
        return "{}x{}".format(*self.block)


def forms(layer: Layer, blocks: Sequence[Block]) -> list[Form]:
    """fp32 and int8 of all shapes; integers that fill no dot product compute in floats."""
    activations = "dynamic" if len(layer.w) == 2 else "static"
    made = [Form("fp32 {}x{}".format(*block), block, DENSITY) for block in blocks]
    return made + [Form("int8 {}x{}".format(*block), block, DENSITY, "int8", activations) for block in blocks]


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit code."""
    names = {"{}x{}".format(*block): block for blocks in SHAPES.values() for block in blocks}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layer", nargs="+", choices=list(LAYERS), default=["FC7", "1x1-256@28"], metavar="NAME")
    parser.add_argument("--shape", nargs="+", choices=list(names), default=list(names), metavar="HxW")
    parser.add_argument("--kept", nargs="*", choices=list(pivot.MODELS), default=[], metavar="NETWORK")
    parser.add_argument("--target", default="cpu")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", type=Path, metavar="FILE")
    args = parser.parse_args(argv)
    out, err = console()
    blocks = [names[name] for name in args.shape]
    times: dict[str, dict[str, float]] = {}
    for name in args.layer:
        rows = measure(LAYERS[name], forms(LAYERS[name], blocks), [], {}, args.target, args.rounds, err)
        times[name] = {row.form: row.cpu for row in rows}
    shapes = []
    for text, block in zip(args.shape, blocks, strict=True):
        speeds = [{name: times[name][f"{kind} {text}"] for name in args.layer} for kind in ("fp32", "int8")]
        kept = {name: pivot.network(pivot.MODELS[name], block)[0] for name in args.kept}
        shapes.append(Shape(block, speeds[0], speeds[1], kept))
    out.print(table(shapes, args.layer, args.kept))
    if args.json is not None:
        rows = [asdict(shape) for shape in shapes]
        args.json.write_text(json.dumps({**machine(), "density": DENSITY, "shapes": rows}, indent=2) + "\n")
    return 0


def table(shapes: Sequence[Shape], layers: Sequence[str], networks: Sequence[str]) -> Table:
    """One row a shape."""
    result = Table("weights", "block")
    for name in layers:
        result.add_column(f"{name} fp32", justify="right")
        result.add_column(f"{name} int8", justify="right")
    for name in networks:
        for heading in ("as it is", "in network", "pivoted", "single weights"):
            result.add_column(f"{name} {heading}", justify="right")
    for shape in shapes:
        cells = [f"{times[name]:.3f}" for name in layers for times in (shape.fp32, shape.int8)]
        for name in networks:
            kept = shape.kept[name]
            inside = "" if kept.network is None else f"{kept.network:.3f}"
            cells += [f"{kept.unpivoted:.3f}", inside, f"{kept.pivoted:.3f}", f"{kept.unstructured:.3f}"]
        result.add_row(str(shape.block[0] * shape.block[1]), shape.name, *cells)
    return result


if __name__ == "__main__":
    sys.exit(main())
