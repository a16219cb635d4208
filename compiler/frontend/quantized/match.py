"""Layers of a quantized graph as integer operations.

A layer matches where its operands are dequantized integers and its result is quantized; convolutions and fully
connected layers also where it stays float: then they give their accumulators.
"""

from __future__ import annotations

from collections.abc import Callable

import onnx_ir as ir

from tilewright.frontend.quantized.linear import conv, gemm
from tilewright.frontend.quantized.moves import VIEWS, concat, resize, view
from tilewright.frontend.quantized.pointwise import binary, function
from tilewright.frontend.quantized.pooling import average_pool, max_pool
from tilewright.frontend.quantized.result import Match
from tilewright.frontend.quantized.values import NO_DEPTH, Unfit, quantization
from tilewright.integer.capabilities import Capabilities
from tilewright.integer.network import Concat, Resize
from tilewright.passes.activation_results import ELEMENTWISE

__all__ = ["Match", "match"]

_READERS: dict[str, Callable[[ir.Node, Capabilities], Match]] = {
    "Conv": conv,
    "Gemm": gemm,
    "MatMul": gemm,
    **dict.fromkeys(VIEWS, view),
    "MaxPool": max_pool,
    "AveragePool": average_pool,
    "GlobalAveragePool": average_pool,
    **dict.fromkeys(ELEMENTWISE, function),
    **dict.fromkeys(("Add", "Sub", "Mul"), binary),
    "Concat": concat,
    "Resize": resize,
}
_MOVES = {"Concat": Concat, "Resize": Resize}


def match(node: ir.Node, capabilities: Capabilities) -> Match:
    """Reads a layer.

    Raises:
        Unfit: it cannot be computed in integers, or not by an accelerator of these capabilities.
    """
    reader = _READERS.get(node.op_type) if node.domain == "" else None
    if reader is None or _MOVES.get(node.op_type, capabilities.operations[0]) not in capabilities.operations:
        raise Unfit("operator has no integer form")
    found = reader(node, capabilities)
    types = [quantization(source) for source in found.sources]
    types += [found.affine] if found.scales is None else []
    wrong = sorted({each.bits for each in types if each.bits not in capabilities.depths})
    if wrong:
        raise Unfit(f"activations have {wrong[0]} bits, {NO_DEPTH}")
    moved = sorted({each.bits for each in types if each.bits in capabilities.symmetric and not each.symmetric})
    if moved:
        raise Unfit(f"activations of {moved[0]} bits have a zero point or no sign, {NO_DEPTH}")
    return found
