"""Layers of a quantized graph as integer operations.

A layer matches where its operands are dequantized integers and its result is quantized; convolutions and fully
connected layers also where it stays float: then they give their accumulators.
"""

from __future__ import annotations

from collections.abc import Callable

import onnx_ir as ir

from tilewright.frontend.quantized.linear import conv, gemm
from tilewright.frontend.quantized.moves import VIEWS, view
from tilewright.frontend.quantized.pointwise import binary, function
from tilewright.frontend.quantized.pooling import average_pool, max_pool
from tilewright.frontend.quantized.result import Match
from tilewright.frontend.quantized.values import Unfit

__all__ = ["Match", "match"]

_READERS: dict[str, Callable[[ir.Node], Match]] = {
    "Conv": conv,
    "Gemm": gemm,
    "MatMul": gemm,
    **dict.fromkeys(VIEWS, view),
    "MaxPool": max_pool,
    "AveragePool": average_pool,
    "GlobalAveragePool": average_pool,
    **dict.fromkeys(("Add", "Sub", "Mul"), binary),
    **dict.fromkeys(("Sigmoid", "Tanh", "HardSigmoid", "HardSwish", "LeakyRelu", "Elu", "Gelu"), function),
    **dict.fromkeys(("Softplus", "Mish", "Exp", "Relu", "Clip"), function),
}


def match(node: ir.Node) -> Match:
    """Reads a layer.

    Raises:
        Unfit: it cannot be computed in integers.
    """
    reader = _READERS.get(node.op_type) if node.domain == "" else None
    if reader is None:
        raise Unfit("operator has no integer form")
    return reader(node)
