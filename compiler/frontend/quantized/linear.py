"""Convolutions and fully connected layers."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from tilewright.frontend.quantized.geometry import integer, number, window_of
from tilewright.frontend.quantized.moves import flattened
from tilewright.frontend.quantized.result import Match, result_of
from tilewright.frontend.quantized.values import Unfit, constant, integer_weight, integers_of, map_shape
from tilewright.integer.network import Convolution, Operation
from tilewright.integer.rounding import Requantize, Rounding, limits
from tilewright.integer.windows import Window

_MOST_BIAS = 2**30  # of an accumulator of 32 bits


def linear(
    node: ir.Node, weights: NDArray[np.int64], scales: NDArray[np.float64], window: Window, depthwise: bool
) -> Match:
    source, x = integers_of(node.inputs[0])
    result = result_of(node, may_stay_float=True)
    given = constant(node.inputs[2]) if len(node.inputs) > 2 else np.zeros(len(weights))
    if given is None or given.size not in (1, len(weights)):
        raise Unfit("bias is computed or has another shape")
    real = np.broadcast_to(given.reshape(-1), len(weights)).astype(np.float64)
    # Channels whose weights are next to nothing beside their bias: in units that hold the bias they may round to zero.
    grow = np.maximum(np.abs(real) / (x.scale * scales * _MOST_BIAS), 1)
    weights = np.rint(weights / grow.reshape(-1, 1, 1, 1)).astype(np.int64)
    units = x.scale * scales * grow
    bias = np.rint(real / units)
    if result.quantized:
        try:
            output = Requantize.of(
                units / result.affine.scale, result.affine.zero, result.affine.dtype, clamp=result.clamp
            )
        except ValueError as error:
            raise Unfit(f"scales do not fit: {error}") from None
    else:
        low, high = limits("int32")
        output = Requantize(np.array([1]), np.array([0]), Rounding.TFL, 0, low, high)

    def build(from_: int, to: int) -> Operation:
        return Convolution(
            node.name or node.op_type, from_, to, weights, bias.astype(np.int64), window, output, depthwise
        )

    scaled = None if result.quantized else units.astype(np.float32)
    return Match(node, (source,), result.target, result.affine, build, scaled)


def conv(node: ir.Node) -> Match:
    shape = map_shape(node.outputs[0])
    weights, scales = integer_weight(node.inputs[1], 0)
    if weights.ndim != 4:
        raise Unfit("kernel is not two-dimensional")
    assert node.inputs[0] is not None
    height, width, depth = map_shape(node.inputs[0])
    group = integer(node, "group", 1)
    depthwise = group > 1
    if depthwise and not (group == depth == len(weights)):
        raise Unfit(f"{group} groups are neither 1 nor as many as channels")
    window = window_of(node, (height, width), shape, (weights.shape[2], weights.shape[3]))
    return linear(node, weights.transpose(0, 2, 3, 1), scales, window, depthwise)


def gemm(node: ir.Node) -> Match:
    if node.op_type == "Gemm":
        plain = number(node, "alpha", 1.0) == number(node, "beta", 1.0) == 1.0
        if not plain or integer(node, "transA", 0):
            raise Unfit("product is scaled or transposed")
    rows = 0 if integer(node, "transB", 0) else 1
    map_shape(node.outputs[0])
    weights, scales = integer_weight(node.inputs[1], rows)
    if weights.ndim != 2:
        raise Unfit("weight is no matrix")
    weights = weights if rows == 0 else weights.T
    order = flattened(node)
    if order is not None:  # from channel, row, column to row, column, channel
        height, width, depth = order
        weights = weights.reshape(-1, depth, height, width).transpose(0, 2, 3, 1).reshape(len(weights), -1)
    return linear(node, weights[:, None, None, :], scales, Window((1, 1)), False)
