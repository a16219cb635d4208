"""Small compressed layers for the static checks of kernels: every layout with every codec, an ONNX file an operator.

The layers of one file stand side by side, each with an input of its own, so that a check meets them as one model.
They are small, for a check compiles hundreds; two are deeper, for loops that a compiler unrolls are other code.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import onnx
from onnx import compose

from benchmarks.layers import Block, Form, Layer
from tilewright import compression

DENSITY = 0.25
LAYERS = (
    Layer("product-1", (1, 256), (128, 256)),
    Layer("product-8", (8, 256), (128, 256)),
    Layer("conv-1x1", (1, 64, 14, 14), (64, 64, 1, 1)),
    Layer("conv-3x3", (1, 32, 14, 14), (64, 32, 3, 3), 1),
    # Loops that compilers do not unroll, and longer ones that they share addresses in.
    Layer("product-8-deep", (8, 2048), (512, 2048)),
    Layer("conv-3x3-deep", (1, 64, 28, 28), (64, 64, 3, 3), 1),
)
BLOCKS: tuple[Block | None, ...] = (None, (16, 4), (4, 4), (1, 16), (16, 1))
INTEGERS = (*(f"int{bits}" for bits in range(2, 9)), "int4(group=32)", "int4(asymmetric)")
CODECS = {
    "float": ("f32", "f16", *INTEGERS, "codebook(16)", "astc(6,6)"),
    "dynamic": INTEGERS,  # to bytes of activations the others are floats
}
"""Codecs of weights by what activations are (``Form.activations``)."""


def forms(activations: str) -> list[Form]:
    """Every layout with every codec, without dense f32, which is not compressed."""
    return [
        Form(f"{_layout(block)} {codec}", block, DENSITY, codec, activations)
        for block, codec in itertools.product(BLOCKS, CODECS[activations])
        if (block, codec) != (None, "f32")
    ]


def side_by_side(layer: Layer, forms: Sequence[Form]) -> onnx.ModelProto:
    """One compressed model of a layer in several forms of the same activations; nodes are named after their forms."""
    merged: onnx.ModelProto | None = None
    for form in forms:
        model = compose.add_prefix(layer.model(layer.matrix(form.block, form.density)), f"{form.name} of ")
        merged = model if merged is None else compose.merge_models(merged, model, io_map=[])
    recipe: dict[str, Any] = {"layer": []}
    for form in forms:
        wanted = form.recipe or {}
        entry = {"name": f"{form.name} of *", "weights": wanted["quantize"].pop("weights")}
        entry |= {key: value for key, value in wanted.get("prune", {}).items() if key != "pivot"}
        recipe["layer"].append(entry)
        recipe |= {"quantize": wanted["quantize"]} if wanted["quantize"] else {}
    return compression.compress(merged, recipe)


def save(folder: Path, layers: Iterable[Layer]) -> list[tuple[str, Path]]:
    """Writes a file for each layer and kind of activations. Returns names and files."""
    saved: list[tuple[str, Path]] = []
    for layer, activations in itertools.product(layers, CODECS):
        path = folder / f"{layer.name}-{activations}.onnx"
        onnx.save(side_by_side(layer, forms(activations)), path)
        saved.append((path.stem, path))
    return saved


def _layout(block: Block | None) -> str:
    return "dense" if block is None else "block_sparse({},{})".format(*block)
