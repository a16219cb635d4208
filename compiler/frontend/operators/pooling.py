"""Pooling: windows and whole planes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
from tvm import relax, te, tirx

from tilewright.frontend.operators.convolution import split_pads
from tilewright.frontend.operators.elementwise import pointwise
from tilewright.frontend.operators.layer import Expr, Layer, Operator, const

_MAX_POOL = {1: relax.op.nn.max_pool1d, 2: relax.op.nn.max_pool2d, 3: relax.op.nn.max_pool3d}
_AVERAGE_POOL = {1: relax.op.nn.avg_pool1d, 2: relax.op.nn.avg_pool2d, 3: relax.op.nn.avg_pool3d}
_LAYOUT = {1: "NCW", 2: "NCHW", 3: "NCDHW"}


@dataclass(frozen=True)
class _Window:
    """A pooling window: element k of output o along an axis lies at o * stride + k * dilation - begin."""

    size: tuple[int, ...]
    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    begins: tuple[int, ...]
    ends: tuple[int, ...]

    @classmethod
    def of(cls, layer: Layer) -> _Window:
        size, kernel = layer.shape()[2:], layer.integers("kernel_shape")
        spatial = len(size)
        strides, dilations = layer.integers("strides", [1] * spatial), layer.integers("dilations", [1] * spatial)
        mode = layer.text("auto_pad", "NOTSET")
        if mode == "NOTSET":
            pads = layer.integers("pads", [0] * (2 * spatial))
        elif mode == "VALID":
            pads = (0,) * (2 * spatial)
        else:
            out = layer.out_shape()[2:]
            totals = [
                max(0, (o - 1) * s + (k - 1) * d + 1 - n)
                for o, n, k, s, d in zip(out, size, kernel, strides, dilations, strict=True)
            ]
            pads = split_pads(totals, upper=mode == "SAME_UPPER")
        return cls(size, kernel, strides, dilations, pads[:spatial], pads[spatial:])

    def plain(self, out: Sequence[int]) -> bool:
        """Whether no output reaches past the padding (which ceil_mode allows)."""
        axes = zip(out, self.size, self.kernel, self.strides, self.dilations, self.begins, self.ends, strict=True)
        return all((o - 1) * s + (k - 1) * d + 1 <= n + b + e for o, n, k, s, d, b, e in axes)

    def position(self, out: Sequence[Any], taps: Sequence[Any]) -> list[Any]:
        axes = zip(out, taps, self.strides, self.dilations, self.begins, strict=True)
        return [o * s + k * d - b for o, k, s, d, b in axes]

    def inside(self, position: Sequence[Any]) -> Any:
        return tirx.all(*(c for p, n in zip(position, self.size, strict=True) for c in (p >= 0, p < n)))


def _max_pool(layer: Layer) -> Sequence[Expr | None]:
    window = _Window.of(layer)
    dtype = layer.dtype()
    spatial = len(window.size)
    if dtype.startswith("float") and spatial in _MAX_POOL and window.plain(layer.out_shape()[2:]):
        y = _MAX_POOL[spatial](
            layer[0],
            list(window.kernel),
            list(window.strides),
            [*window.begins, *window.ends],
            list(window.dilations),
            layout=_LAYOUT[spatial],
        )
        y = layer.emit(y)
        if tuple(int(dim) for dim in y.ty.shape) != layer.out_shape():
            y = _reduce_window(layer, window, te.max, tirx.min_value(dtype))
    else:
        y = _reduce_window(layer, window, te.max, tirx.min_value(dtype))
    return [y, _max_indices(layer, window, y) if layer.wants(1) else None]


def _reduce_window(
    layer: Layer, window: _Window, reducer: Callable[..., Any], border: Any, map_: Callable[[Any], Any] = lambda x: x
) -> Expr:
    def compute(x: Any) -> Any:
        taps = [te.reduce_axis((0, k), name=f"k{i}") for i, k in enumerate(window.kernel)]

        def at(n: Any, c: Any, *out: Any) -> Any:
            position = window.position(out, taps)
            return reducer(tirx.if_then_else(window.inside(position), map_(x(n, c, *position)), border), axis=taps)

        return te.compute(layer.out_shape(), at, name="pool")

    return layer.te(compute, layer[0])


def _max_indices(layer: Layer, window: _Window, best: Expr) -> Expr:
    """The flat index of the first maximum in each window, counted over the whole input tensor."""
    shape = layer.shape()
    order = range(len(window.size))
    if layer.integer("storage_order", 0):
        order = range(len(window.size) - 1, -1, -1)
    big = tirx.const(2**62, "int64")

    def compute(x: Any, y: Any) -> Any:
        taps = [te.reduce_axis((0, k), name=f"k{i}") for i, k in enumerate(window.kernel)]

        def at(n: Any, c: Any, *out: Any) -> Any:
            position = window.position(out, taps)
            hit = tirx.if_then_else(window.inside(position), x(n, c, *position) == y(n, c, *out), False)
            flat: Any = (n * shape[1] + c).astype("int64")
            for axis in order:
                flat = flat * window.size[axis] + position[axis]
            return te.min(tirx.Select(hit, flat.astype("int64"), big), axis=taps)

        return te.compute(layer.out_shape(1), at, name="indices")

    return layer.te(compute, layer[0], best, name="max_pool_indices")


def _average_pool(layer: Layer) -> Expr:
    window = _Window.of(layer)
    spatial, out = len(window.size), layer.out_shape()[2:]
    padded = any(window.begins) or any(window.ends)
    include = bool(layer.integer("count_include_pad", 0))
    if spatial in _AVERAGE_POOL and window.plain(out) and (include or not padded):
        y = layer.emit(
            _AVERAGE_POOL[spatial](
                layer[0],
                list(window.kernel),
                list(window.strides),
                [*window.begins, *window.ends],
                list(window.dilations),
                count_include_pad=include,
                layout=_LAYOUT[spatial],
            )
        )
        if tuple(int(dim) for dim in y.ty.shape) == layer.out_shape() and set(window.dilations) == {1}:
            return y
    total = _reduce_window(layer, window, te.sum, tirx.const(0, layer.dtype()))
    return relax.op.divide(total, layer.emit(_counts(layer, window, include)))


def _counts(layer: Layer, window: _Window, include: bool) -> Expr:
    """How many elements each output averages, as a constant that broadcasts."""
    counts = np.ones((), np.float64)
    for axis, out in enumerate(layer.out_shape()[2:]):
        low, high = (-window.begins[axis], window.size[axis] + window.ends[axis]) if include else (0, window.size[axis])
        start = np.arange(out)[:, None] * window.strides[axis] - window.begins[axis]
        at = start + np.arange(window.kernel[axis]) * window.dilations[axis]
        counts = np.multiply.outer(counts, ((at >= low) & (at < high)).sum(axis=1))
    return const(counts[None, None], layer.dtype())


def _lp_pool(layer: Layer) -> Expr:
    window, p = _Window.of(layer), layer.integer("p", 2)
    total = _reduce_window(layer, window, te.sum, tirx.const(0, layer.dtype()), lambda x: _size_power(x, p))
    return _root(layer, total, p)


def _size_power(x: Any, p: int) -> Any:
    return reduce(lambda a, b: a * b, [tirx.abs(x)] * p)


def _root(layer: Layer, total: Expr, p: int) -> Expr:
    if p == 2:
        return relax.op.sqrt(total)
    return total if p == 1 else relax.op.power(total, const(1 / p, layer.dtype()))


def _global_average(layer: Layer) -> Expr:
    return relax.op.mean(layer[0], axis=list(range(2, layer.rank())), keepdims=True)


def _global_max(layer: Layer) -> Expr:
    return relax.op.max(layer[0], axis=list(range(2, layer.rank())), keepdims=True)


def _global_lp(layer: Layer) -> Expr:
    p, axes = layer.integer("p", 2), list(range(2, layer.rank()))
    powered = pointwise(layer, lambda x: _size_power(x, p), layer[0])
    return _root(layer, layer.emit(relax.op.sum(powered, axis=axes, keepdims=True)), p)


OPERATORS: Mapping[str, Operator] = {
    "AveragePool": Operator(_average_pool),
    "GlobalAveragePool": Operator(_global_average),
    "GlobalLpPool": Operator(_global_lp),
    "GlobalMaxPool": Operator(_global_max),
    "LpPool": Operator(_lp_pool),
    "MaxPool": Operator(_max_pool),
}
