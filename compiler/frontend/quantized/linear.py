"""Convolutions and fully connected layers."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from tilewright.frontend.quantized.geometry import integer, number, window_of
from tilewright.frontend.quantized.moves import flattened
from tilewright.frontend.quantized.result import Match, result_of
from tilewright.frontend.quantized.values import Unfit, constant, integer_weight, integers_of, map_shape, quantization
from tilewright.integer.capabilities import Capabilities
from tilewright.integer.depths import depth_of
from tilewright.integer.elementwise import Affine
from tilewright.integer.network import Convolution, Operation
from tilewright.integer.rounding import Requantize, Rounding, limits
from tilewright.integer.windows import Window

LINEAR = ("Conv", "Gemm", "MatMul")


def linear(
    node: ir.Node,
    weights: NDArray[np.int64],
    scales: NDArray[np.float64],
    window: Window,
    depthwise: bool,
    capabilities: Capabilities,
) -> Match:
    source, x = integers_of(node.inputs[0])
    last, given = _bias(node, len(weights))
    result = result_of(last, may_stay_float=True)
    real = np.broadcast_to(given.reshape(-1), len(weights)).astype(np.float64)
    # Channels whose weights are next to nothing beside their bias: in units that hold the bias they may round to zero.
    most = 2.0 ** (capabilities.sum_bits(x.bits) - 2)
    grow = np.maximum(np.abs(real) / (x.scale * scales * most), 1)
    weights = np.rint(weights / grow.reshape(-1, 1, 1, 1)).astype(np.int64)
    units = x.scale * scales * grow
    bias = np.rint(real / units)
    sums = capabilities.sum_bits(x.bits)
    if (_most(x, weights, bias) >= 2.0 ** (sums - 1)).any():
        raise Unfit(f"sums may have more than {sums} bits")
    if result.quantized:
        try:
            reduced = capabilities.reduced and x.bits > 8
            output = result.affine.requantize(units / result.affine.scale, result.clamp, reduced)
        except ValueError as error:
            raise Unfit(f"scales do not fit: {error}") from None
    else:
        output, units = _accumulators(x, weights, bias, units, capabilities)
    bits = depth_of(weights, capabilities.weight_depths)

    def build(from_: int, to: int) -> Operation:
        layer = node.name or node.op_type
        return Convolution(layer, from_, to, weights, bias.astype(np.int64), window, output, depthwise, bits)

    scaled = None if result.quantized else units.astype(np.float32)
    covers = frozenset({last} - {node})
    return Match(node, (source,), result.target, result.affine, build, scaled, covers=covers)


def _bias(node: ir.Node, channels: int) -> tuple[ir.Node, NDArray[Any]]:
    """A layer's bias, to which a sum behind it may add, and the node that it ends in."""
    given = constant(node.inputs[2]) if len(node.inputs) > 2 else np.zeros(channels)
    if given is None or given.size not in (1, channels):
        raise Unfit("bias is computed or has another shape")
    uses = list(node.outputs[0].uses())
    if len(uses) == 1 and not node.outputs[0].is_graph_output():
        user = uses[0].node
        other = constant(user.inputs[1 - uses[0].idx]) if user.op_type == "Add" and user.domain == "" else None
        ends = (channels, 1, 1) if node.op_type == "Conv" else (channels,)
        if other is not None and (other.size == 1 or (other.size == channels and other.shape[-len(ends) :] == ends)):
            return user, given + other.reshape(-1)
    return node, given


def layer_of(value: ir.Value) -> ir.Node | None:
    """The convolution or fully connected layer that makes a float value, by itself or with a bias behind it."""
    node = value.producer()
    if node is not None and node.op_type == "Add" and node.domain == "":
        node = next((user.producer() for user in node.inputs if user is not None and user.producer() is not None), None)
    if node is None or node.domain != "" or node.op_type not in LINEAR:
        return None
    return node if value is node.outputs[0] or value.producer() is _bias(node, _channels(node))[0] else None


def _channels(node: ir.Node) -> int:
    return map_shape(node.outputs[0])[2]


def extent(node: ir.Node, capabilities: Capabilities) -> tuple[float, float]:
    """The least and the greatest float result of a layer that any input can make.

    Raises:
        Unfit: the layer has no integer form, or its result is quantized.
    """
    found = conv(node, capabilities) if node.op_type == "Conv" else gemm(node, capabilities)
    layer, x = found.build(0, 1), quantization(found.sources[0])
    assert isinstance(layer, Convolution)
    if found.scales is None:
        raise Unfit("result is quantized")
    low, high = (end - x.zero for end in x.limits)
    above, below = (np.clip(sign * layer.weights, 0, None).sum((1, 2, 3)) for sign in (1, -1))
    factors = found.scales * layer.output.factor / np.exp2(layer.output.shift)
    ends = [(above * most - below * least + layer.bias) * factors for most, least in ((high, low), (low, high))]
    return float(ends[1].min()), float(ends[0].max())


def _most(x: Affine, weights: NDArray[np.int64], bias: NDArray[Any]) -> NDArray[np.float64]:
    distance = max(x.limits[1] - x.zero, x.zero - x.limits[0])
    most: NDArray[np.float64] = np.abs(weights).sum((1, 2, 3)) * distance + np.abs(bias)
    return most


def _accumulators(
    x: Affine,
    weights: NDArray[np.int64],
    bias: NDArray[np.float64],
    units: NDArray[np.float64],
    capabilities: Capabilities,
) -> tuple[Requantize, NDArray[np.float64]]:
    """Sums as 32-bit results, and what one is worth: those of more bits lose as many as they have too much."""
    low, high = limits("int32")
    if capabilities.sum_bits(x.bits) == 32:
        return Requantize(np.array([1]), np.array([0]), Rounding.TFL, 0, low, high), units
    most = _most(x, weights, bias) + 1
    lost = np.maximum(np.ceil(np.log2(most)).astype(np.int64) - 31, 0)
    if capabilities.reduced:
        return Requantize(np.ones_like(lost), lost, Rounding.NATURAL, 0, low, high), units * np.exp2(lost)
    return Requantize.of(np.exp2(-lost.astype(np.float64)), 0, "int32"), units * np.exp2(lost)


def conv(node: ir.Node, capabilities: Capabilities) -> Match:
    shape = map_shape(node.outputs[0])
    weights, scales = integer_weight(node.inputs[1], 0, capabilities.weight_depths[-1])
    if weights.ndim != 4:
        raise Unfit("kernel is not two-dimensional")
    assert node.inputs[0] is not None
    height, width, depth = map_shape(node.inputs[0])
    group = integer(node, "group", 1)
    depthwise = group > 1
    if depthwise and not (group == depth == len(weights)):
        raise Unfit(f"{group} groups are neither 1 nor as many as channels")
    window = window_of(node, (height, width), shape, (weights.shape[2], weights.shape[3]), capabilities)
    return linear(node, weights.transpose(0, 2, 3, 1), scales, window, depthwise, capabilities)


def gemm(node: ir.Node, capabilities: Capabilities) -> Match:
    if node.op_type == "Gemm":
        plain = number(node, "alpha", 1.0) == number(node, "beta", 1.0) == 1.0
        if not plain or integer(node, "transA", 0):
            raise Unfit("product is scaled or transposed")
    rows = 0 if integer(node, "transB", 0) else 1
    map_shape(node.outputs[0])
    weights, scales = integer_weight(node.inputs[1], rows, capabilities.weight_depths[-1])
    if weights.ndim != 2:
        raise Unfit("weight is no matrix")
    weights = weights if rows == 0 else weights.T
    order = flattened(node)
    if order is not None:  # from channel, row, column to row, column, channel
        height, width, depth = order
        weights = weights.reshape(-1, depth, height, width).transpose(0, 2, 3, 1).reshape(len(weights), -1)
    return linear(node, weights[:, None, None, :], scales, Window((1, 1)), False, capabilities)
