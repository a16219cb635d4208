"""FakeQuantize of up to 8 bits as QuantizeLinear and DequantizeLinear, which say the same with integers in between."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from tilewright.frontend.quantized.values import constant
from tilewright.passes.fake_quantize import DOMAIN, FAKE_QUANTIZE, Quantizer

_SIGN = 128  # what makes signed integers unsigned


def standardise(graph: ir.Graph) -> None:
    """Replaces every such node. Integers become uint8; depths below 8 get a Clip to their range in front."""
    for node in list(graph):
        if node.domain == DOMAIN and node.op_type == FAKE_QUANTIZE:
            scale, zero = constant(node.inputs[1]), constant(node.inputs[2])
            bits, signed = (node.attributes[name].as_int() for name in ("bits", "signed"))
            if bits <= 8 and scale is not None and zero is not None and scale.size == zero.size == 1:
                _replace(graph, node, Quantizer(bits, bool(signed), float(scale.item()), int(zero.item())))


def _replace(graph: ir.Graph, node: ir.Node, quantizer: Quantizer) -> None:
    result, value = node.outputs[0], node.inputs[0]
    assert value is not None
    nodes = []
    name = node.name or str(result.name)
    if quantizer.bits < 8:
        ends = [(end - quantizer.zero_point) * quantizer.scale for end in (quantizer.low, quantizer.high)]
        limits = [
            _constant(graph, f"{name}.{key}", np.float32(end)) for key, end in zip(("low", "high"), ends, strict=True)
        ]
        clip = ir.node("Clip", [value, *limits], name=f"{name}/clip")
        _describe(clip.outputs[0], f"{name}.clipped", result, ir.DataType.FLOAT)
        value, nodes = clip.outputs[0], [clip]
    zero = quantizer.zero_point + (_SIGN if quantizer.signed else 0)
    pair = [
        _constant(graph, f"{name}.scale", np.float32(quantizer.scale)),
        _constant(graph, f"{name}.zero", np.uint8(zero)),
    ]
    quantize = ir.node("QuantizeLinear", [value, *pair], name=f"{name}/integers")
    _describe(quantize.outputs[0], f"{name}.integers", result, ir.DataType.UINT8)
    back = ir.node("DequantizeLinear", [quantize.outputs[0], *pair], name=f"{name}/back")
    _describe(back.outputs[0], f"{name}.back", result, ir.DataType.FLOAT)
    graph.insert_before(node, [*nodes, quantize, back])
    ir.convenience.replace_all_uses_with(result, back.outputs[0], replace_graph_outputs=True)
    graph.remove(node, safe=True)


def _describe(value: ir.Value, name: str, like: ir.Value, dtype: ir.DataType) -> None:
    value.name, value.shape, value.dtype = name, like.shape, dtype


def _constant(graph: ir.Graph, name: str, scalar: np.generic) -> ir.Value:
    array: NDArray[np.generic] = np.asarray(scalar)
    value = ir.Value(name=name, const_value=ir.tensor(array, name=name))
    value.shape, value.dtype = ir.Shape(array.shape), ir.DataType.from_numpy(array.dtype)
    graph.register_initializer(value)
    return value
