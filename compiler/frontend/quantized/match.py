"""Layers of a quantized graph as integer operations.

A layer matches where its operands are dequantized integers and its result is quantized; convolutions and fully
connected layers also where it stays float: then they give their accumulators.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from tilewright.frontend.quantized.values import Unfit, affine, constant, integer_weight, integers_of, map_shape
from tilewright.integer.elementwise import Affine
from tilewright.integer.network import Addition, Convolution, Operation, Pooling, View
from tilewright.integer.rounding import Requantize, Rounding, limits
from tilewright.integer.windows import Window

Build = Callable[..., Operation]
"""From the indices of the source maps and of the target map to an operation."""

_MOST_BIAS = 2**30  # of an accumulator of 32 bits
_MOST_KERNEL, _MOST_STRIDE, _MOST_DILATION = 64, 3, 2


@dataclass(frozen=True)
class Match:
    """A layer and what it is in integers.

    Attributes:
        node: the layer's own node.
        sources: integer values that it reads.
        target: the integer value that it makes, or its float result.
        affine: of the target.
        scales: None, or what accumulators are multiplied with, for each channel: the target is float.
        needs: layers that have to be in the same part: a view whose elements they take in another order.
    """

    node: ir.Node
    sources: tuple[ir.Value, ...]
    target: ir.Value
    affine: Affine
    build: Build
    scales: NDArray[np.float32] | None = None
    needs: tuple[ir.Node, ...] = field(default=())

    @property
    def layer(self) -> str:
        return self.node.name or self.node.op_type


def match(node: ir.Node) -> Match:
    """Reads a layer.

    Raises:
        Unfit: it cannot be computed in integers.
    """
    reader = _READERS.get(node.op_type) if node.domain == "" else None
    if reader is None:
        raise Unfit("operator has no integer form")
    return reader(node)


@dataclass(frozen=True)
class _Result:
    target: ir.Value
    affine: Affine
    clamp: tuple[int, int] | None
    quantized: bool


def _result(node: ir.Node, may_stay_float: bool = False) -> _Result:
    """Where a layer's result is quantized, with clamps on the way."""
    value, low, high = node.outputs[0], -np.inf, np.inf
    while True:
        uses = list(value.uses())
        user = uses[0].node if len(uses) == 1 and not value.is_graph_output() else None
        if user is not None and user.op_type == "QuantizeLinear" and user.domain == "":
            out = user.outputs[0]
            target = affine(user, out)
            return _Result(out, target, _integers(low, high, target), True)
        if user is not None and user.domain == "" and user.op_type in ("Relu", "Clip"):
            least, most = _bounds(user)
            low, high = max(low, least), min(high, most)
            value = user.outputs[0]
            continue
        if may_stay_float:
            return _Result(node.outputs[0], Affine(1.0, 0, "int32"), None, False)
        raise Unfit("result stays float")


def _keeps(source: ir.Value, before: Affine, result: _Result) -> bool:
    """Whether what only picks elements of a map needs no arithmetic: one quantization, and no clamp of its own."""
    if result.affine != before:
        return False
    clamp = _before(source.producer(), "QuantizeLinear")
    same = (
        clamp is not None and clamp.op_type in ("Clip", "Relu") and _integers(*_bounds(clamp), before) == result.clamp
    )
    return result.clamp is None or same


def _bounds(node: ir.Node) -> tuple[float, float]:
    if node.op_type == "Relu":
        return 0.0, np.inf
    found = []
    for place, otherwise in ((1, -np.inf), (2, np.inf)):
        value = node.inputs[place] if len(node.inputs) > place else None
        array = constant(value)
        if value is not None and array is None:
            raise Unfit("result is clamped to computed limits")
        found.append(otherwise if array is None else float(array.item()))
    return found[0], found[1]


def _integers(low: float, high: float, target: Affine) -> tuple[int, int] | None:
    if np.isinf(low) and np.isinf(high):
        return None
    least, most = limits(target.dtype)
    ends = [
        int(np.clip(np.rint(bound / target.scale) + target.zero, least, most)) if np.isfinite(bound) else edge
        for bound, edge in ((low, least), (high, most))
    ]
    return ends[0], ends[1]


def _linear(
    node: ir.Node, weights: NDArray[np.int64], scales: NDArray[np.float64], window: Window, depthwise: bool
) -> Match:
    source, x = integers_of(node.inputs[0])
    result = _result(node, may_stay_float=True)
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


def _conv(node: ir.Node) -> Match:
    shape = map_shape(node.outputs[0])
    weights, scales = integer_weight(node.inputs[1], 0)
    if weights.ndim != 4:
        raise Unfit("kernel is not two-dimensional")
    assert node.inputs[0] is not None
    height, width, depth = map_shape(node.inputs[0])
    group = _integer(node, "group", 1)
    depthwise = group > 1
    if depthwise and not (group == depth == len(weights)):
        raise Unfit(f"{group} groups are neither 1 nor as many as channels")
    window = _window(node, (height, width), shape, (weights.shape[2], weights.shape[3]))
    return _linear(node, weights.transpose(0, 2, 3, 1), scales, window, depthwise)


def _gemm(node: ir.Node) -> Match:
    if node.op_type == "Gemm":
        plain = _float(node, "alpha", 1.0) == _float(node, "beta", 1.0) == 1.0
        if not plain or _integer(node, "transA", 0):
            raise Unfit("product is scaled or transposed")
    rows = 0 if _integer(node, "transB", 0) else 1
    map_shape(node.outputs[0])
    weights, scales = integer_weight(node.inputs[1], rows)
    if weights.ndim != 2:
        raise Unfit("weight is no matrix")
    weights = weights if rows == 0 else weights.T
    order = _flattened(node)
    if order is not None:  # from channel, row, column to row, column, channel
        height, width, depth = order
        weights = weights.reshape(-1, depth, height, width).transpose(0, 2, 3, 1).reshape(len(weights), -1)
    return _linear(node, weights[:, None, None, :], scales, Window((1, 1)), False)


def _before(node: ir.Node | None, *kinds: str) -> ir.Node | None:
    """What a node of these kinds reads from; the node itself if it is of another kind."""
    if node is None or node.op_type not in kinds:
        return node
    value = node.inputs[0]
    return None if value is None else value.producer()


def _flattened(node: ir.Node) -> tuple[int, int, int] | None:
    """The map that a fully connected layer's input was flattened from, where that changes the order of elements."""
    source, _ = integers_of(node.inputs[0])
    view = _before(_before(source.producer(), "QuantizeLinear"), "Relu", "Clip")
    if view is None or view.op_type not in ("Flatten", "Reshape", "Squeeze") or view.inputs[0] is None:
        return None
    try:
        match(view)
    except Unfit:
        return None
    shape = map_shape(view.inputs[0])
    return shape if _reorders(shape) else None


def _reorders(shape: tuple[int, int, int]) -> bool:
    return shape[0] * shape[1] > 1 and shape[2] > 1


def _view(node: ir.Node) -> Match:
    source, before = integers_of(node.inputs[0])
    result = _result(node)
    assert node.inputs[0] is not None
    shape, after = map_shape(node.inputs[0]), map_shape(node.outputs[0])
    if not _keeps(source, before, result):
        raise Unfit("result is quantized differently")
    needs: tuple[ir.Node, ...] = ()
    if shape != after and _reorders(shape):
        if after[:2] != (1, 1):
            raise Unfit("elements move")
        needs = _readers(result.target)
        outside = any(use.node.outputs[0].is_graph_output() for use in result.target.uses())
        if outside or not needs or any(user.op_type not in ("Gemm", "MatMul") for user in needs):
            raise Unfit("elements move for a layer other than a fully connected one")
    build: Build = lambda from_, to: View(node.name or node.op_type, from_, to)  # noqa: E731
    return Match(node, (source,), result.target, result.affine, build, needs=needs)


def _readers(integers: ir.Value) -> tuple[ir.Node, ...]:
    """The nodes that read dequantized integers."""
    return tuple(use.node for user in integers.uses() for use in user.node.outputs[0].uses())


def _max_pool(node: ir.Node) -> Match:
    return _pool(node, "MAX")


def _average_pool(node: ir.Node) -> Match:
    return _pool(node, "AVERAGE")


def _pool(node: ir.Node, kind: str) -> Match:
    source, before = integers_of(node.inputs[0])
    assert node.inputs[0] is not None
    height, width, depth = map_shape(node.inputs[0])
    if node.op_type.startswith("Global"):
        window = Window((height, width))
        if max(window.kernel) > _MOST_KERNEL:
            raise Unfit(f"window is larger than {_MOST_KERNEL}")
    else:
        kernel = tuple(int(size) for size in node.attributes["kernel_shape"].as_ints())
        if len(kernel) != 2:
            raise Unfit("window is not two-dimensional")
        window = _window(node, (height, width), map_shape(node.outputs[0]), (kernel[0], kernel[1]))
    if kind == "AVERAGE" and any(window.pads) and _integer(node, "count_include_pad", 0):
        raise Unfit("mean counts padding")
    result = _result(node)
    if _keeps(source, before, result):
        build: Build = lambda from_, to: Pooling(node.name or node.op_type, from_, to, kind, window)  # noqa: E731
        return Match(node, (source,), result.target, result.affine, build)
    if kind == "MAX" or any(window.pads):
        raise Unfit("result is quantized differently")
    # A mean with another scale is a depthwise convolution with ones.
    taps = window.kernel[0] * window.kernel[1]
    return _linear(node, np.ones((depth, *window.kernel, 1), np.int64), np.full(depth, 1 / taps), window, True)


def _add(node: ir.Node) -> Match:
    first, second = (integers_of(value)[0] for value in node.inputs)
    result = _result(node)
    shapes = {map_shape(value) for value in (*node.inputs, node.outputs[0]) if value is not None}
    if len(shapes) != 1:
        raise Unfit("operands broadcast")
    if result.clamp is not None:
        raise Unfit("sum is clamped")
    types = {
        affine_.dtype for affine_ in (integers_of(node.inputs[0])[1], integers_of(node.inputs[1])[1], result.affine)
    }
    if len(types) != 1:
        raise Unfit("operands and result have different types")
    build: Build = lambda a, b, to: Addition(node.name or node.op_type, a, b, to)  # noqa: E731
    return Match(node, (first, second), result.target, result.affine, build)


def _window(node: ir.Node, size: tuple[int, int], out: tuple[int, int, int], kernel: tuple[int, int]) -> Window:
    """A node's geometry; padding at the end is what the outputs reach, whatever ``auto_pad`` and ``ceil_mode`` say."""
    strides = _pair(node, "strides")
    dilations = _pair(node, "dilations")
    reach = [(taps - 1) * dilation + 1 for taps, dilation in zip(kernel, dilations, strict=True)]
    if max(reach) > _MOST_KERNEL or max(strides) > _MOST_STRIDE or max(dilations) > _MOST_DILATION:
        raise Unfit(f"kernel {kernel} with strides {strides} and dilations {dilations} is too large")
    pads = tuple(int(pad) for pad in node.attributes["pads"].as_ints()) if "pads" in node.attributes else (0, 0, 0, 0)
    automatic = node.attributes["auto_pad"].as_string() if "auto_pad" in node.attributes else "NOTSET"
    starts, ends = [], []
    for place in range(2):
        total = max((out[place] - 1) * strides[place] + reach[place] - size[place], 0)
        start = {"SAME_UPPER": total // 2, "SAME_LOWER": total - total // 2}.get(automatic, pads[place])
        starts.append(start)
        ends.append(max(total - start, 0))
    if any(start >= length for start, length in zip(starts, reach, strict=True)):
        raise Unfit("padding is wider than the kernel")
    return Window(kernel, strides, dilations, (starts[0], starts[1], ends[0], ends[1]))


def _pair(node: ir.Node, name: str) -> tuple[int, int]:
    given = tuple(int(item) for item in node.attributes[name].as_ints()) if name in node.attributes else (1, 1)
    return given[0], given[-1]


def _integer(node: ir.Node, name: str, default: int) -> int:
    return node.attributes[name].as_int() if name in node.attributes else default


def _float(node: ir.Node, name: str, default: float) -> float:
    return node.attributes[name].as_float() if name in node.attributes else default


_READERS: dict[str, Callable[[ir.Node], Match]] = {
    "Conv": _conv,
    "Gemm": _gemm,
    "MatMul": _gemm,
    "Flatten": _view,
    "Reshape": _view,
    "Squeeze": _view,
    "MaxPool": _max_pool,
    "AveragePool": _average_pool,
    "GlobalAveragePool": _average_pool,
    "Add": _add,
}
