"""The fully connected layers of AlexNet, dense and compressed, beside onnxruntime fp32 and rivals.

    python -m benchmarks.fc [--layer FC7] [--batch 1 64] [--form "int8 90%"] [--blocks 4x4]
                            [--weights "codebook(16)" "block_sparse(16,4) astc(6,6)"]
                            [--rival torch-bsr] [--rounds 15] [--json out.json]

How it measures: layer_table.py. ``--blocks`` sets the shape of fp32 blocks. Exit code 1 where a bar is missed.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from benchmarks.layer_table import arguments, chosen, console, finish, measure, table
from benchmarks.layers import Block, Form, Layer

SIZES = {"FC6": (9216, 4096), "FC7": (4096, 4096), "FC8": (4096, 1000)}
BLOCKS = ("16x1", "4x4", "1x16", "8x2")
BATCHES = (1, 2, 4, 8, 16, 32, 64)

BARS: dict[int, dict[str, tuple[float, ...]]] = {
    1: {
        "fp32": (1.0, 1.0, 1.0),
        "fp32 90%": (0.06, 0.06, 0.12),
        "int8 90%": (0.016, 0.018, 0.06),
        "int4 90%": (0.012, 0.014, 0.05),
        "int4 g32": (0.12, 0.07, 0.16),
        "int8": (0.14, 0.085, 0.14),
    },
    16: {"fp32": (1.0, 1.0), "fp32 90%": (0.12, 0.12), "int8 90%": (0.03, 0.03)},
}
"""Share of onnxruntime fp32's time that we may take, by batch and form, for FC6, FC7, FC8."""


def forms(block: Block) -> list[Form]:
    """The forms, with fp32 blocks of that shape."""
    return [
        Form("fp32"),
        Form("fp32 90%", block, 0.1),
        Form("int8 90%", (16, 4), 0.1, "int8", "dynamic"),
        Form("int4 90%", (16, 4), 0.1, "int4", "dynamic"),
        Form("int8", weights="int8", activations="dynamic"),
        Form("int4 g32", weights="int4(group=32)", activations="dynamic"),
    ]


def layer(name: str, batch: int) -> Layer:
    """A layer by its name in ``SIZES``."""
    depth, outputs = SIZES[name]
    return Layer(name, (batch, depth), (outputs, depth))


def bars(name: str, batch: int) -> dict[str, float]:
    """The bars of a layer by form."""
    place = list(SIZES).index(name)
    return {form: values[place] for form, values in BARS.get(batch, {}).items() if place < len(values)}


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments(parser, list(SIZES), [form.name for form in forms((16, 1))])
    parser.add_argument("--batch", nargs="+", type=int, choices=BATCHES, default=list(BARS))
    parser.add_argument("--blocks", choices=BLOCKS, default=BLOCKS[0])
    args = parser.parse_args(argv)
    height, width = map(int, args.blocks.split("x"))
    wanted = chosen(forms((height, width)), args)
    out, err = console()
    rows = []
    for batch in args.batch:
        for name in args.layer:
            found = measure(layer(name, batch), wanted, args.rival, bars(name, batch), args.target, args.rounds, err)
            out.print(table(found))
            rows += found
    return finish(rows, args.json)


if __name__ == "__main__":
    sys.exit(main())
