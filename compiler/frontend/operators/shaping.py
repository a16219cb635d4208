"""Moving elements without computing: reshapes, transposes, slices, padding, and constant tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from tvm import relax, te, tirx

from tilewright.frontend.operators.layer import Expr, Layer, Operator, Refusal, const


def _reshape(layer: Layer) -> Expr:
    """Reshape, Flatten, Squeeze and Unsqueeze: shape inference has already worked out the result."""
    return relax.op.reshape(layer[0], layer.out_shape())


def _transpose(layer: Layer) -> Expr:
    order = layer.integers("perm", tuple(reversed(range(layer.rank()))))
    return layer[0] if layer.rank() < 2 else relax.op.permute_dims(layer[0], order)


def _concat(layer: Layer) -> Expr:
    axis = layer.axis(None)
    parts = [expr for i, expr in enumerate(layer.inputs) if 0 not in layer.shape(i)]
    return parts[0] if len(parts) == 1 else relax.op.concat(parts, axis=axis)


def _split(layer: Layer) -> Sequence[Expr]:
    axis = layer.axis(0)
    outputs, start = [], 0
    for index in range(len(layer.node.outputs)):
        stop = start + layer.out_shape(index)[axis]
        outputs.append(_strided(layer, [axis], [start], [stop], [1]) if layer.wants(index) else None)
        start = stop
    return outputs


def _strided(
    layer: Layer, axes: Sequence[int], begin: Sequence[int], end: Sequence[int], strides: Sequence[int]
) -> Expr:
    return layer.emit(relax.op.strided_slice(layer[0], list(axes), list(begin), list(end), list(strides)))


def _slice(layer: Layer) -> Expr:
    """Bounds are clamped as Python's slices are; a negative step is read by index arithmetic."""
    rank, shape = layer.rank(), layer.shape()
    if layer.opset < 10:
        starts: Sequence[int] = layer.integers("starts")
        ends: Sequence[int] = layer.integers("ends")
        axes: Sequence[int] = layer.integers("axes", range(len(starts)))
        steps: Sequence[int] = [1] * len(starts)
    else:
        starts, ends = _integers(layer, 1, "starts"), _integers(layer, 2, "ends")
        axes = _integers(layer, 3, "axes", range(len(starts)))
        steps = _integers(layer, 4, "steps", [1] * len(starts))
    axes = [layer.positive(axis, rank) for axis in axes]
    ranges = {
        axis: range(shape[axis])[start:end:step]
        for axis, start, end, step in zip(axes, starts, ends, steps, strict=True)
    }
    if all(r.step > 0 for r in ranges.values()):
        begin, end = [r.start for r in ranges.values()], [r.stop for r in ranges.values()]
        return _strided(layer, list(ranges), begin, end, [r.step for r in ranges.values()])
    out = layer.out_shape()

    def compute(x: Any) -> Any:
        def at(*index: Any) -> Any:
            source = [
                ranges[axis].start + i * ranges[axis].step if axis in ranges else i for axis, i in enumerate(index)
            ]
            return x(*source)

        return te.compute(out, at, name="slice")

    return layer.te(compute, layer[0])


def _integers(layer: Layer, index: int, what: str, default: Sequence[int] | None = None) -> Sequence[int]:
    array = layer.constant(index, what)
    if array is None:
        if default is None:
            raise Refusal(f"{what} is missing")
        return default
    return [int(item) for item in array.reshape(-1)]


def _expand(layer: Layer) -> Expr:
    return relax.op.broadcast_to(layer[0], layer.out_shape())


def _tile(layer: Layer) -> Expr:
    return relax.op.tile(layer[0], _integers(layer, 1, "repeats"))


def _pad(layer: Layer) -> Expr:
    rank, dtype = layer.rank(), layer.dtype()
    mode = layer.text("mode", "constant")
    if layer.opset < 11:
        pads: Sequence[int] = layer.integers("pads")
        value: Any = layer.number("value", 0.0)
    else:
        pads = _integers(layer, 1, "pads")
        fill = layer.array(2)
        value = 0 if layer.optional(2) is None else (layer[2] if fill is None else fill.item())
    axes = [layer.positive(axis, rank) for axis in _integers(layer, 3, "axes", range(rank))]
    begins = [0] * rank
    for position, axis in enumerate(axes):
        begins[axis] = pads[position]
    shape, out = layer.shape(), layer.out_shape()
    if mode == "constant":
        return _pad_constant(layer, begins, value, dtype)

    def compute(x: Any) -> Any:
        def at(*index: Any) -> Any:
            return x(*(_border(i - b, n, mode) for i, b, n in zip(index, begins, shape, strict=True)))

        return te.compute(out, at, name="pad")

    return layer.te(compute, layer[0])


def _pad_constant(layer: Layer, begins: Sequence[int], value: Any, dtype: str) -> Expr:
    shape, out = layer.shape(), layer.out_shape()
    ends = [o - b - n for o, b, n in zip(out, begins, shape, strict=True)]
    known = not isinstance(value, relax.Expr)

    def compute(x: Any, *fill: Any) -> Any:
        border = tirx.const(value, dtype) if known else (fill[0]() if not fill[0].shape else fill[0](0))

        def at(*index: Any) -> Any:
            source = [i - b for i, b in zip(index, begins, strict=True)]
            inside = [source[a] >= 0 for a in range(len(out)) if begins[a] > 0]
            inside += [source[a] < shape[a] for a in range(len(out)) if ends[a] > 0]
            return tirx.if_then_else(tirx.all(*inside), x(*source), border) if inside else x(*source)

        return te.compute(out, at, name="pad")

    return layer.te(compute, layer[0], *([] if known else [value]))


def _border(i: Any, size: int, mode: str) -> Any:
    """The index that an index outside of [0, size) stands for."""
    if mode == "edge":
        return tirx.min(tirx.max(i, 0), size - 1)
    if mode == "wrap":
        return tirx.floormod(i, size)
    if mode == "reflect":  # without repeating the border; period 2 (size - 1)
        if size == 1:
            return 0
        folded = tirx.floormod(i, 2 * (size - 1))
        return tirx.min(folded, 2 * (size - 1) - folded)
    raise Refusal(f"Pad mode '{mode}' is not supported")


def _depth_to_space(layer: Layer) -> Expr:
    batch, channels, height, width = layer.shape()
    b = layer.integer("blocksize")
    if layer.text("mode", "DCR") == "DCR":
        split, order = (batch, b, b, channels // (b * b), height, width), (0, 3, 4, 1, 5, 2)
    else:
        split, order = (batch, channels // (b * b), b, b, height, width), (0, 1, 4, 2, 5, 3)
    return _regroup(layer, split, order)


def _space_to_depth(layer: Layer) -> Expr:
    batch, channels, height, width = layer.shape()
    b = layer.integer("blocksize")
    split = (batch, channels, height // b, b, width // b, b)
    return _regroup(layer, split, (0, 1, 3, 5, 2, 4) if layer.text("mode", "DCR") == "CRD" else (0, 3, 5, 1, 2, 4))


def _regroup(layer: Layer, split: Sequence[int], order: Sequence[int]) -> Expr:
    data = layer.emit(relax.op.reshape(layer[0], tuple(split)))
    return relax.op.reshape(layer.emit(relax.op.permute_dims(data, order)), layer.out_shape())


def _constant_of_shape(layer: Layer) -> Expr:
    attribute = layer.node.attributes.get("value")
    value = 0.0 if attribute is None else attribute.as_tensor().numpy().item()
    return relax.op.full(layer.out_shape(), const(value, layer.out_dtype()), layer.out_dtype())


def _eye_like(layer: Layer) -> Expr:
    rows, columns = layer.shape()
    return const(np.eye(rows, columns, k=layer.integer("k", 0)), layer.out_dtype())


def _range(layer: Layer) -> Expr:
    start, limit, delta = (layer.constant(i, "a bound") for i in range(3))
    assert start is not None
    assert limit is not None
    assert delta is not None
    return const(np.arange(start.item(), limit.item(), delta.item()), layer.out_dtype())


def _trilu(layer: Layer) -> Expr:
    diagonal = layer.constant(1, "the diagonal k")
    k, upper = 0 if diagonal is None else int(diagonal.item()), bool(layer.integer("upper", 1))
    dtype = layer.dtype()

    def compute(x: Any) -> Any:
        def at(*index: Any) -> Any:
            distance = index[-1] - index[-2]
            keep = distance >= k if upper else distance <= k
            return tirx.Select(keep, x(*index), tirx.const(0, dtype))

        return te.compute(layer.out_shape(), at, name="trilu")

    return layer.te(compute, layer[0])


def _reverse_sequence(layer: Layer) -> Expr:
    time, batch, shape = layer.integer("time_axis", 0), layer.integer("batch_axis", 1), layer.shape()

    def compute(x: Any, lengths: Any) -> Any:
        def at(*index: Any) -> Any:
            source, length, t = list(index), lengths(index[batch]), index[time]
            source[time] = tirx.Select(t < length, length - 1 - t.astype("int64"), t.astype("int64"))
            return x(*source)

        return te.compute(shape, at, name="reverse")

    return layer.te(compute, layer[0], layer[1])


def _col2im(layer: Layer) -> Expr:
    """Sums the patches that cover each pixel."""
    image, block = _integers(layer, 1, "image_shape"), _integers(layer, 2, "block_shape")
    n = len(image)
    dilations, strides = layer.integers("dilations", [1] * n), layer.integers("strides", [1] * n)
    pads = layer.integers("pads", [0] * (2 * n))
    dtype = layer.dtype()
    counts = [
        (size + pads[i] + pads[n + i] - (block[i] - 1) * dilations[i] - 1) // strides[i] + 1
        for i, size in enumerate(image)
    ]

    def compute(x: Any) -> Any:
        taps = [te.reduce_axis((0, k), name=f"k{i}") for i, k in enumerate(block)]

        def at(b: Any, c: Any, *pixel: Any) -> Any:
            inside, row, column = [], c, tirx.const(0, "int32")
            for i in range(n):
                offset = pixel[i] + pads[i] - taps[i] * dilations[i]
                index = tirx.floordiv(offset, strides[i])
                inside += [offset >= 0, tirx.floormod(offset, strides[i]) == 0, index < counts[i]]
                row, column = row * block[i] + taps[i], column * counts[i] + index
            value = tirx.if_then_else(tirx.all(*inside), x(b, row, column), tirx.const(0, dtype))
            return te.sum(value, axis=taps)

        return te.compute(layer.out_shape(), at, name="col2im")

    return layer.te(compute, layer[0])


def _dropout(layer: Layer) -> Sequence[Expr | None]:
    training = layer.constant(2, "training_mode")
    ratio = layer.constant(1, "ratio")
    if training is not None and training.item() and (ratio is None or ratio.item() != 0):
        raise Refusal("Dropout in training mode is not supported", "export the model in evaluation mode")
    mask = const(np.ones(layer.out_shape(1)), layer.out_dtype(1)) if layer.wants(1) else None
    return [layer[0], mask]


OPERATORS: Mapping[str, Operator] = {
    "Col2Im": Operator(_col2im, "constant shapes"),
    "Concat": Operator(_concat),
    "ConstantOfShape": Operator(_constant_of_shape),
    "DepthToSpace": Operator(_depth_to_space),
    "Dropout": Operator(_dropout, "inference only"),
    "Expand": Operator(_expand),
    "EyeLike": Operator(_eye_like),
    "Flatten": Operator(_reshape),
    "Pad": Operator(_pad, "constant pads"),
    "Range": Operator(_range, "constant bounds"),
    "Reshape": Operator(_reshape),
    "ReverseSequence": Operator(_reverse_sequence),
    "Slice": Operator(_slice, "constant bounds"),
    "SpaceToDepth": Operator(_space_to_depth),
    "Split": Operator(_split),
    "Squeeze": Operator(_reshape),
    "Tile": Operator(_tile, "constant repeats"),
    "Transpose": Operator(_transpose),
    "Trilu": Operator(_trilu, "constant diagonal"),
    "Unsqueeze": Operator(_reshape),
}
