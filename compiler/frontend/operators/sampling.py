"""Reading images at positions that come from data: GridSample, RoiAlign, DeformConv, MaxUnpool."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tvm import relax, te, tirx

from tilewright.frontend.operators.layer import Expr, Layer, Operator, Refusal

Read = Callable[..., Any]  # a pixel by integer position


def _grid_sample(layer: Layer) -> Expr:
    """One kernel works out the positions, one interpolates; the grid names the last axis first."""
    mode = layer.text("mode", "bilinear" if layer.opset < 20 else "linear").removeprefix("bi")
    padding, aligned = layer.text("padding_mode", "zeros"), bool(layer.integer("align_corners", 0))
    if mode not in ("linear", "nearest", "cubic"):
        raise Refusal(f"mode '{mode}' is not supported")
    size, out = layer.shape()[2:], layer.out_shape()
    r, dtype = len(size), layer.dtype(1)

    def positions(grid: Any) -> Any:
        def at(*index: Any) -> Any:
            values = []
            for axis, n in enumerate(size):
                v = grid(*index[:-1], r - 1 - axis)
                one, half = tirx.const(1, dtype), tirx.const(0.5, dtype)
                v = (v + one) * half * (n - 1) if aligned else ((v + one) * n - one) * half
                v = tirx.round(v) if mode == "nearest" else v
                values.append(_inside(v, n, padding, aligned, dtype))
            result = values[-1]
            for axis in reversed(range(r - 1)):
                result = tirx.Select(index[-1] == axis, values[axis], result)
            return result

        return te.compute(layer.shape(1), at, name="positions")

    def sample(x: Any, place: Any) -> Any:
        def at(n: Any, c: Any, *o: Any) -> Any:
            p = [place(n, *o, axis) for axis in range(r)]

            def pixel(*i: Any) -> Any:
                return _pixel(lambda *q: x(n, c, *q), i, size, padding, aligned, layer.dtype())

            if mode == "nearest":
                return pixel(*(v.astype("int32") for v in p))
            return _interpolate(pixel, p, mode, layer.dtype(), dtype)

        return te.compute(out, at, name="grid_sample")

    return layer.te(sample, layer[0], layer.te(positions, layer[1], name="grid_positions"))


def _inside(v: Any, n: int, padding: str, aligned: bool, dtype: str) -> Any:
    """A position outside of the image, brought to its border or mirrored into it."""
    if padding == "border":
        return tirx.max(tirx.min(v, tirx.const(n - 1, dtype)), tirx.const(0, dtype))
    if padding == "reflection":
        low, high = (0.0, n - 1.0) if aligned else (-0.5, n - 0.5)
        return _mirrored(v, low, high, dtype)
    return v


def _mirrored(v: Any, low: float, high: float, dtype: str) -> Any:
    span = tirx.const(high - low, dtype)
    if high == low:
        return tirx.const(low, dtype)
    turns = tirx.floor((v - tirx.const(low, dtype)) / span)
    rest = v - tirx.const(low, dtype) - turns * span
    odd = turns - tirx.floor(turns * tirx.const(0.5, dtype)) * tirx.const(2, dtype) > tirx.const(0.5, dtype)
    return tirx.const(low, dtype) + tirx.Select(odd, span - rest, rest)


def _pixel(read: Read, index: Sequence[Any], size: Sequence[int], padding: str, aligned: bool, dtype: str) -> Any:
    if padding == "zeros":
        inside = tirx.all(*(c for i, n in zip(index, size, strict=True) for c in (i >= 0, i < n)))
        clamped = [tirx.max(tirx.min(i, n - 1), 0) for i, n in zip(index, size, strict=True)]
        return tirx.Select(inside, read(*clamped), tirx.const(0, dtype))
    return read(*(_whole(i, n, padding, aligned) for i, n in zip(index, size, strict=True)))


def _whole(i: Any, n: int, padding: str, aligned: bool) -> Any:
    """An integer position, clamped or mirrored: about the outer pixels with align_corners, else about the edges."""
    if padding == "reflection" and n > 1:
        if aligned:
            folded = tirx.floormod(i, 2 * (n - 1))
            i = tirx.min(folded, 2 * (n - 1) - folded)
        else:
            folded = tirx.floormod(i, 2 * n)
            i = tirx.min(folded, 2 * n - 1 - folded)
    return tirx.max(tirx.min(i, n - 1), 0)


def _interpolate(pixel: Read, position: Sequence[Any], mode: str, dtype: str, grid_dtype: str) -> Any:
    """Sum over the corners (linear) or the 4^r neighbourhood (cubic) around a position."""
    base = [tirx.floor(v).astype("int32") for v in position]
    fraction = [(v - tirx.floor(v)).astype(dtype) for v in position]
    weights = [_linear_weights(f, dtype) if mode == "linear" else _cubic_weights(f, dtype) for f in fraction]
    first = 0 if mode == "linear" else -1
    total: Any = None
    for corner in itertools.product(range(len(weights[0])), repeat=len(position)):
        term = pixel(*(b + first + k for b, k in zip(base, corner, strict=True)))
        for axis, k in enumerate(corner):
            term = term * weights[axis][k]
        total = term if total is None else total + term
    return total


def _linear_weights(f: Any, dtype: str) -> list[Any]:
    return [tirx.const(1, dtype) - f, f]


def _cubic_weights(f: Any, dtype: str) -> list[Any]:
    """Keys' kernel with a = -0.75, as PyTorch's."""
    a, one = -0.75, tirx.const(1, dtype)

    def c(value: float) -> Any:
        return tirx.const(value, dtype)

    def inner(t: Any) -> Any:
        return ((c(a + 2) * t - c(a + 3)) * t) * t + one

    def outer(t: Any) -> Any:
        return ((c(a) * t - c(5 * a)) * t + c(8 * a)) * t - c(4 * a)

    return [outer(f + one), inner(f), inner(one - f), outer(c(2) - f)]


def _roi_align(layer: Layer) -> Expr:
    ratio, mode = layer.integer("sampling_ratio", 0), layer.text("mode", "avg")
    if ratio <= 0:
        raise Refusal("RoiAlign with sampling_ratio 0 samples as often as the data says", "set sampling_ratio")
    default = "output_half_pixel" if layer.opset < 16 else "half_pixel"
    half = layer.opset >= 16 and layer.text("coordinate_transformation_mode", default) == "half_pixel"
    (_, _, height, width), (rois, channels, rows, columns) = layer.shape(), layer.out_shape()
    dtype, scale = layer.dtype(), layer.number("spatial_scale", 1.0)
    batches = layer.shape()[0]

    def c(value: float) -> Any:
        return tirx.const(value, dtype)

    def compute(x: Any, boxes: Any, batch: Any) -> Any:
        taps = [te.reduce_axis((0, ratio), name="iy"), te.reduce_axis((0, ratio), name="ix")]

        def axis_position(n: Any, p: Any, tap: Any, axis: int, bins: int) -> Any:
            start, end = (boxes(n, axis + k) * c(scale) - c(0.5 if half else 0.0) for k in (0, 2))
            extent = end - start if half else tirx.max(end - start, c(1))
            size = extent / c(bins)
            return start + p.astype(dtype) * size + (tap.var.astype(dtype) + c(0.5)) * size / c(ratio)

        def at(n: Any, channel: Any, ph: Any, pw: Any) -> Any:
            y, v = axis_position(n, ph, taps[0], 1, rows), axis_position(n, pw, taps[1], 0, columns)
            image = tirx.max(tirx.min(batch(n).astype("int32"), batches - 1), 0)
            inside = tirx.all(y >= c(-1), y <= c(height), v >= c(-1), v <= c(width))
            terms = _corners(lambda i, j: x(image, channel, i, j), (y, v), (height, width), dtype)
            if mode == "avg":
                value = (terms[0] + terms[1] + terms[2] + terms[3]) / c(ratio * ratio)
                return te.sum(tirx.Select(inside, value, c(0)), axis=taps)
            value = tirx.max(tirx.max(terms[0], terms[1]), tirx.max(terms[2], terms[3]))
            return te.max(tirx.Select(inside, value, c(0)), axis=taps)

        return te.compute((rois, channels, rows, columns), at, name="roi_align")

    return layer.te(compute, layer[0], layer[1], layer[2])


def _corners(read: Read, position: Sequence[Any], size: Sequence[int], dtype: str) -> list[Any]:
    """The four weighted pixels around a position that is clamped to the image."""
    low, high, part = [], [], []
    for v, n in zip(position, size, strict=True):
        v = tirx.max(tirx.min(v, tirx.const(n - 1, dtype)), tirx.const(0, dtype))
        i = tirx.floor(v).astype("int32")
        low.append(i)
        high.append(tirx.min(i + 1, n - 1))
        part.append(v - tirx.floor(v))
    one = tirx.const(1, dtype)
    (ly, lx), (y0, x0), (y1, x1) = part, low, high
    return [
        (one - ly) * (one - lx) * read(y0, x0),
        (one - ly) * lx * read(y0, x1),
        ly * (one - lx) * read(y1, x0),
        ly * lx * read(y1, x1),
    ]


def _deform_conv(layer: Layer) -> Expr:
    """One kernel gathers the displaced taps, one multiplies them with the weights."""
    if layer.rank() != 4:
        raise Refusal("DeformConv is supported over two spatial dimensions only")
    (batch, channels, height, width), (filters, per_group, kh, kw) = layer.shape(), layer.shape(1)
    (_, _, rows, columns), dtype = layer.out_shape(), layer.dtype()
    groups, offset_groups = layer.integer("group", 1), layer.integer("offset_group", 1)
    strides, dilations = layer.integers("strides", (1, 1)), layer.integers("dilations", (1, 1))
    pads, mask = layer.integers("pads", (0, 0, 0, 0)), layer.optional(4)
    shared = channels // offset_groups

    def gather(x: Any, offset: Any, *masks: Any) -> Any:
        def at(n: Any, c: Any, i: Any, j: Any, y: Any, v: Any) -> Any:
            tap = (tirx.floordiv(c, shared) * kh + i) * kw + j
            place = [
                (y * strides[0] + i * dilations[0] - pads[0]).astype(dtype) + offset(n, tap * 2, y, v),
                (v * strides[1] + j * dilations[1] - pads[1]).astype(dtype) + offset(n, tap * 2 + 1, y, v),
            ]

            def pixel(*q: Any) -> Any:
                return _pixel(lambda *p: x(n, c, *p), q, (height, width), "zeros", False, dtype)

            value = _interpolate(pixel, place, "linear", dtype, dtype)
            return value * masks[0](n, tap, y, v) if masks else value

        return te.compute((batch, channels, kh, kw, rows, columns), at, name="taps")

    taps = layer.te(gather, layer[0], layer[2], *([] if mask is None else [mask]), name="deform_taps")
    each = filters // groups

    def product(columns_: Any, weight: Any) -> Any:
        c = te.reduce_axis((0, per_group), name="c")
        i, j = te.reduce_axis((0, kh), name="i"), te.reduce_axis((0, kw), name="j")

        def at(n: Any, m: Any, y: Any, v: Any) -> Any:
            source = tirx.floordiv(m, each) * per_group + c
            return te.sum(columns_(n, source, i, j, y, v) * weight(m, c, i, j), axis=[c, i, j])

        return te.compute(layer.out_shape(), at, name="deform_conv")

    y = layer.te(product, taps, layer[1], name="deform_conv")
    bias = layer.optional(3)
    return y if bias is None else relax.op.add(y, layer.emit(relax.op.reshape(bias, (1, -1, 1, 1))))


def _max_unpool(layer: Layer) -> Expr:
    """An output takes the value whose index points at it, or zero; indices count over the tensor MaxPool saw."""
    shape, out, dtype = layer.shape(), layer.out_shape(), layer.dtype()
    kernel, r = layer.integers("kernel_shape"), len(shape) - 2
    strides, pads = layer.integers("strides", [1] * r), layer.integers("pads", [0] * (2 * r))
    natural = [
        (n - 1) * s + k - pads[i] - pads[r + i]
        for i, (n, s, k) in enumerate(zip(shape[2:], strides, kernel, strict=True))
    ]

    def compute(x: Any, indices: Any) -> Any:
        taps = [te.reduce_axis((0, n), name=f"k{i}") for i, n in enumerate(shape[2:])]

        def at(n: Any, c: Any, *position: Any) -> Any:
            flat: Any = (n * shape[1] + c).astype("int64")
            for axis, p in enumerate(position):
                flat = flat * natural[axis] + p
            inside = tirx.all(*(p < size for p, size in zip(position, natural, strict=True)))
            hit = tirx.all(inside, indices(n, c, *taps) == flat)
            return te.sum(tirx.Select(hit, x(n, c, *taps), tirx.const(0, dtype)), axis=taps)

        return te.compute(out, at, name="unpool")

    return layer.te(compute, layer[0], layer[1])


OPERATORS: Mapping[str, Operator] = {
    "DeformConv": Operator(_deform_conv, "two spatial dimensions"),
    "GridSample": Operator(_grid_sample),
    "MaxUnpool": Operator(_max_unpool),
    "RoiAlign": Operator(_roi_align, "sampling_ratio above 0"),
}
