"""Finds layers whose weights are compressed already, by another tool or by us: they are left as they are stored."""

from __future__ import annotations

import onnx_ir as ir

from tilewright.passes.activation_plan import LINEAR, Fallback
from tilewright.passes.encode import is_unpack

_INTEGER = {"ConvInteger": 1, "MatMulInteger": 1, "QLinearConv": 3, "QLinearMatMul": 3}  # which input is the weight


def already_quantized(graph: ir.Graph) -> list[Fallback]:
    """The layers whose weights are stored as integers or packed, and as which, in graph order."""
    found = []
    for node in graph:
        if node.domain != "":
            continue
        stored = producer = None
        if node.op_type in LINEAR:
            producer = node.inputs[1].producer() if node.inputs[1] is not None else None
            if producer is not None and producer.op_type == "DequantizeLinear" and producer.domain == "":
                stored = producer.inputs[0]
        elif node.op_type in _INTEGER:
            stored = node.inputs[_INTEGER[node.op_type]]
        if producer is not None and is_unpack(producer):
            form = producer.attributes.get_string("format", "?")
            found.append(Fallback(node.name or "", f"its weight is packed already, as {form}"))
        if stored is not None and stored.const_value is not None:
            kind = stored.const_value.dtype.name
            found.append(Fallback(node.name or "", f"its weight is quantized already, to {kind} '{stored.name}'"))
    return found
