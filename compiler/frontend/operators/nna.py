"""The operator of a compiled part of a network: see frontend/quantized/offload.py."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from tvm import relax

from tilewright.frontend.operators.layer import Expr, Layer, Operator, dtype_name, static_shape
from tilewright.lower.stream_call import stream_call

DOMAIN = "tilewright.nna"


def _stream(layer: Layer) -> list[Expr]:
    outputs = [(static_shape(value), dtype_name(value)) for value in layer.node.outputs]
    inputs = [layer[place] for place in range(len(layer.node.inputs))]
    operands = [(layer.shape(place), layer.dtype(place)) for place in range(len(inputs))]
    payload = layer.node.attributes["payload"].as_tensor().numpy().astype(np.uint8).tobytes()
    function = stream_call(operands, outputs, payload, layer.integers("workspaces"))
    types = [relax.TensorType(shape, dtype) for shape, dtype in outputs]
    callee = layer.builder.add_func(function, "stream")
    if len(types) == 1:
        return [layer.emit(relax.call_tir(callee, inputs, out_ty=types[0]))]
    made = layer.emit(relax.call_tir(callee, inputs, out_ty=types))
    return [layer.emit(relax.TupleGetItem(made, place)) for place in range(len(types))]


OWN: Mapping[str, Operator] = {"Stream": Operator(_stream)}
"""Operators of domain ``tilewright.nna``."""
