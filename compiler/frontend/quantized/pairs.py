"""Pairs of QuantizeLinear and DequantizeLinear around integers of any depth."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from tilewright.frontend.quantized.values import DEPTH
from tilewright.integer.rounding import limits
from tilewright.passes.fake_quantize import Quantizer


def clamped_pair(
    graph: ir.Graph,
    value: ir.Value,
    quantizer: Quantizer,
    depth: int,
    name: str,
    like: ir.Value,
    symmetric: bool = False,
) -> list[ir.Node]:
    """Nodes that quantize a value to unsigned integers and bring it back; not yet in the graph.

    Args:
        depth: of the integers, at least the quantizer's: what the accelerator computes with.
        name: of the nodes.
        like: a value of the result's shape.
        symmetric: integers with a sign and no zero point, instead. The grid stays the same where it fits; a zero point
            that is not in the middle of all integers there are makes it coarser, by up to two.
    """
    nodes = []
    container = 8 if depth <= 8 else 16
    low, high = quantizer.low - quantizer.zero_point, quantizer.high - quantizer.zero_point
    dtype = np.dtype(f"int{container}" if symmetric else f"uint{container}")
    least, most = limits(dtype.name)
    if (low, high) != (least, most) if symmetric else quantizer.bits < container:
        ends = [end * quantizer.scale for end in (low, high)]
        clamps = [
            _constant(graph, f"{name}.{key}", np.float32(end)) for key, end in zip(("low", "high"), ends, strict=True)
        ]
        clip = ir.node("Clip", [value, *clamps], name=f"{name}/clip")
        _describe(clip.outputs[0], f"{name}.clipped", like, ir.DataType.FLOAT)
        value, nodes = clip.outputs[0], [clip]
    zero, scale = quantizer.zero_point + (1 << depth - 1 if quantizer.signed else 0), quantizer.scale
    if symmetric:
        zero, scale = 0, scale * max(low / least, high / most, 1.0)
    pair = [
        _constant(graph, f"{name}.scale", np.float32(scale)),
        _constant(graph, f"{name}.zero", dtype.type(zero)),
    ]
    quantize = ir.node("QuantizeLinear", [value, *pair], name=f"{name}/integers")
    _describe(quantize.outputs[0], f"{name}.integers", like, ir.DataType.from_numpy(dtype))
    quantize.outputs[0].meta[DEPTH] = depth
    back = ir.node("DequantizeLinear", [quantize.outputs[0], *pair], name=f"{name}/back")
    _describe(back.outputs[0], f"{name}.back", like, ir.DataType.FLOAT)
    return [*nodes, quantize, back]


def _describe(value: ir.Value, name: str, like: ir.Value, dtype: ir.DataType) -> None:
    value.name, value.shape, value.dtype = name, like.shape, dtype


def _constant(graph: ir.Graph, name: str, scalar: np.generic) -> ir.Value:
    array: NDArray[np.generic] = np.asarray(scalar)
    value = ir.Value(name=name, const_value=ir.tensor(array, name=name))
    value.shape, value.dtype = ir.Shape(array.shape), ir.DataType.from_numpy(array.dtype)
    graph.register_initializer(value)
    return value
