"""The table of importable operators. Adding an operator is adding an entry to a topic's ``OPERATORS``."""

from __future__ import annotations

from collections.abc import Mapping

import onnx_ir as ir

from tilewright.frontend.operators import (
    activation,
    convolution,
    elementwise,
    indexing,
    linear,
    nna,
    normalization,
    pooling,
    quantization,
    recurrent,
    reduction,
    resampling,
    sampling,
    shaping,
    unpack,
)
from tilewright.frontend.operators.layer import DTYPES, Operator
from tilewright.passes.encode import DOMAIN, is_unpack

TOPICS = (
    elementwise,
    activation,
    linear,
    convolution,
    pooling,
    normalization,
    reduction,
    shaping,
    indexing,
    resampling,
    sampling,
    quantization,
    recurrent,
)

TABLE: Mapping[str, Operator] = {name: operator for topic in TOPICS for name, operator in topic.OPERATORS.items()}

__all__ = ["DTYPES", "TABLE", "TOPICS", "Operator", "lookup"]


def lookup(node: ir.Node) -> Operator | None:
    """The operator of a node, or None where it cannot be imported as it is."""
    if is_unpack(node):
        return unpack.OPERATOR
    if node.domain == DOMAIN and node.op_type in quantization.OWN:
        return quantization.OWN[node.op_type]
    if node.domain == nna.DOMAIN:
        return nna.OWN.get(node.op_type)
    return TABLE.get(node.op_type) if node.domain in ("", "ai.onnx") else None
