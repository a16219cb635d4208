"""Convolutions of ResNet's sizes, dense and compressed, beside onnxruntime fp32 and rivals.

    python -m benchmarks.conv [--layer 1x1-256@28] [--form "int8 90%"] [--weights "astc(6,6)"]
                              [--rival litert-int8] [--rounds 15] [--json out.json]

Activations of eight bits have fixed ranges from samples. How it measures: layer_table.py. Exit code 1 where a bar is
missed.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from benchmarks.layer_table import arguments, chosen, console, finish, measure, table
from benchmarks.layers import Form, Layer

LAYERS = {
    "1x1-256@28": Layer("1x1-256@28", (1, 256, 28, 28), (256, 256, 1, 1)),
    "1x1-512@14": Layer("1x1-512@14", (1, 512, 14, 14), (512, 512, 1, 1)),
    "3x3-64@56": Layer("3x3-64@56", (1, 64, 56, 56), (64, 64, 3, 3), 1),
}

BARS: dict[str, tuple[float, float, float]] = {"fp32 90%": (0.17, 0.17, 0.16), "int8 90%": (0.07, 0.09, 0.08)}
"""Share of onnxruntime fp32's time that we may take, by form, for ``LAYERS`` in their order."""

FORMS = [
    Form("fp32"),
    *(Form(f"fp32 {zeros}%", (16, 1), 1 - zeros / 100) for zeros in (80, 90)),
    *(Form(f"int8 {zeros}%", (16, 4), 1 - zeros / 100, "int8", "static") for zeros in (80, 90)),
    Form("int8", weights="int8", activations="static"),
]


def bars(name: str) -> dict[str, float]:
    """The bars of a layer by form."""
    place = list(LAYERS).index(name)
    return {form: values[place] for form, values in BARS.items()}


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments(parser, list(LAYERS), [form.name for form in FORMS])
    args = parser.parse_args(argv)
    wanted = chosen(FORMS, args)
    out, err = console()
    rows = []
    for name in args.layer:
        found = measure(LAYERS[name], wanted, args.rival, bars(name), args.target, args.rounds, err)
        out.print(table(found))
        rows += found
    return finish(rows, args.json)


if __name__ == "__main__":
    sys.exit(main())
