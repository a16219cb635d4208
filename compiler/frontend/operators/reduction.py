"""Reductions over axes, and what searches along an axis: ArgMax, TopK, CumSum."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from tvm import relax, te, tirx

from tilewright.frontend.operators.layer import Converter, Expr, Layer, Operator, Refusal, const


def _axes(layer: Layer) -> list[int]:
    axes = layer.axes(1)
    if axes:
        return list(axes)
    return [] if layer.integer("noop_with_empty_axes", 0) else list(range(layer.rank()))


def _reduce(
    op: Callable[..., Expr], before: Callable[[Expr], Expr], after: Callable[[Expr], Expr], empty: float
) -> Converter:
    """``after(op(before(x)))``. Over no axis ``op`` leaves values as they are; over no elements it gives ``empty``."""

    def convert(layer: Layer) -> Expr:
        axes, dtype = _axes(layer), layer.dtype()
        if 0 in layer.shape():
            return _filled(layer, empty)
        wide = "float32" if dtype == "float16" else dtype  # float16 is summed in float32
        x = layer.emit(before(layer[0] if wide == dtype else layer.emit(relax.op.astype(layer[0], wide))))
        if axes:
            x = layer.emit(op(x, axis=axes, keepdims=bool(layer.integer("keepdims", 1))))
        x = layer.emit(after(x))
        return x if wide == dtype else relax.op.astype(x, dtype)

    return convert


def _filled(layer: Layer, value: float) -> Expr:
    dtype = layer.out_dtype()
    if dtype.startswith(("int", "uint")) and np.isinf(value):
        value = np.iinfo(dtype).min if value < 0 else np.iinfo(dtype).max
    return const(np.full(layer.out_shape(), False if dtype == "bool" and value < 0 else value), dtype)


def _same(x: Expr) -> Expr:
    return x


def _square(x: Expr) -> Expr:
    return relax.op.multiply(x, x)


def _extreme(op: Callable[..., Expr], empty: float) -> Converter:
    """Max or min. Booleans are reduced as bytes; floats by a reducer of ours, as TVM's starts from the largest finite
    number and would turn a row of infinities into that."""

    def convert(layer: Layer) -> Expr:
        axes, keep, dtype = _axes(layer), bool(layer.integer("keepdims", 1)), layer.dtype()
        if 0 in layer.shape():
            return _filled(layer, empty)
        if not axes:
            return layer[0]
        if dtype == "bool":
            wide = layer.emit(relax.op.astype(layer[0], "uint8"))
            return relax.op.astype(layer.emit(op(wide, axis=axes, keepdims=keep)), "bool")
        if not dtype.startswith("float"):
            return op(layer[0], axis=axes, keepdims=keep)
        extreme = layer.te(_infinite_extreme(layer.shape(), axes, empty), layer[0])
        return extreme if keep else relax.op.reshape(extreme, layer.out_shape())

    return convert


def _infinite_extreme(shape: Sequence[int], axes: Sequence[int], empty: float) -> Callable[..., Any]:
    """A kernel that reduces with the identity +-infinity and keeps the axes."""
    kept = tuple(1 if axis in axes else dim for axis, dim in enumerate(shape))
    combine = tirx.max if empty < 0 else tirx.min
    reducer = te.comm_reducer(lambda a, b: combine(a, b), lambda t: tirx.const(empty, t), name="extreme")

    def compute(x: Any) -> Any:
        taps = {axis: te.reduce_axis((0, shape[axis]), name=f"k{axis}") for axis in axes}

        def at(*index: Any) -> Any:
            return reducer(x(*(taps.get(axis, i) for axis, i in enumerate(index))), axis=list(taps.values()))

        return te.compute(kept, at, name="extreme")

    return compute


def _log_sum_exp(layer: Layer) -> Expr:
    """log(sum(exp(x - max))) + max, which does not overflow."""
    axes, keep = _axes(layer), bool(layer.integer("keepdims", 1))
    if 0 in layer.shape():
        return _filled(layer, -np.inf)
    if not axes:
        return layer[0]
    top = layer.emit(relax.op.max(layer[0], axis=axes, keepdims=True))
    finite = layer.emit(relax.op.isfinite(top))  # infinity minus itself is not a number
    top = layer.emit(relax.op.where(finite, top, const(0, layer.dtype())))
    powers = layer.emit(relax.op.exp(layer.emit(relax.op.subtract(layer[0], top))))
    total = layer.emit(relax.op.log(layer.emit(relax.op.sum(powers, axis=axes, keepdims=keep))))
    return relax.op.add(total, top if keep else layer.emit(relax.op.reshape(top, layer.out_shape())))


def _arg(op: Callable[..., Expr]) -> Converter:
    def convert(layer: Layer) -> Expr:
        axis, keep = layer.axis(0), bool(layer.integer("keepdims", 1))
        if not layer.integer("select_last_index", 0):
            return relax.op.astype(layer.emit(op(layer[0], axis=axis, keepdims=keep)), "int64")
        last = layer.shape()[axis] - 1
        flipped = layer.emit(relax.op.flip(layer[0], axis))
        index = relax.op.astype(layer.emit(op(flipped, axis=axis, keepdims=keep)), "int64")
        return relax.op.subtract(relax.const(last, "int64"), layer.emit(index))

    return convert


def _top_k(layer: Layer) -> Sequence[Expr | None]:
    """By rank: an element's place is the number of elements before it. Quadratic, but it runs on any target."""
    axis, shape, out = layer.axis(-1), layer.shape(), layer.out_shape()
    length = shape[axis]
    largest = bool(layer.integer("largest", 1))
    if 0 in out:
        raise Refusal("TopK of no elements is not supported")

    def at(tensor: Any, index: Sequence[Any], position: Any) -> Any:
        return tensor(*(position if i == axis else p for i, p in enumerate(index)))

    def ranks(x: Any) -> Any:
        j = te.reduce_axis((0, length), name="j")

        def rank(*index: Any) -> Any:
            mine, other, i = x(*index), at(x, index, j), index[axis]
            ahead = other > mine if largest else other < mine
            before = tirx.any(ahead, tirx.all(other == mine, j < i))
            return te.sum(tirx.Select(before, tirx.const(1, "int32"), tirx.const(0, "int32")), axis=j)

        return te.compute(shape, rank, name="rank")

    def places(rank: Any) -> Any:
        j = te.reduce_axis((0, length), name="j")

        def place(*index: Any) -> Any:
            hit = at(rank, index, j) == index[axis].astype("int32")
            return te.sum(tirx.Select(hit, j.var.astype("int64"), tirx.const(0, "int64")), axis=j)

        return te.compute(out, place, name="place")

    order = layer.te(ranks, layer[0], name="top_k_rank")
    indices = layer.te(places, order, name="top_k_place")

    def values(x: Any, chosen: Any) -> Any:
        return te.compute(out, lambda *index: at(x, index, chosen(*index)), name="value")

    return [layer.te(values, layer[0], indices, name="top_k_value"), indices]


def _cumulative(name: str, combine: Callable[[Any, Any], Any], identity: int) -> Converter:
    """Each output reduces the inputs up to it: quadratic in the axis, in the order of a running sum."""

    def convert(layer: Layer) -> Expr:
        fixed = layer.constant(1, "axis")
        assert fixed is not None
        axis, shape, dtype = layer.positive(int(fixed.item()), layer.rank()), layer.shape(), layer.dtype()
        exclusive, backward = bool(layer.integer("exclusive", 0)), bool(layer.integer("reverse", 0))
        neutral = tirx.const(identity, dtype)
        reducer = te.comm_reducer(combine, lambda t: tirx.const(identity, t), name=name)

        def compute(x: Any) -> Any:
            j = te.reduce_axis((0, shape[axis]), name="j")

            def at(*index: Any) -> Any:
                i = index[axis]
                ahead = (j > i if exclusive else j >= i) if backward else (j < i if exclusive else j <= i)
                value = x(*(j if a == axis else p for a, p in enumerate(index)))
                return reducer(tirx.Select(ahead, value, neutral), axis=j)

            return te.compute(shape, at, name=name)

        return layer.te(compute, layer[0])

    return convert


OPERATORS: Mapping[str, Operator] = {
    "ArgMax": Operator(_arg(relax.op.argmax)),
    "ArgMin": Operator(_arg(relax.op.argmin)),
    "CumProd": Operator(_cumulative("cumprod", lambda a, b: a * b, 1), "constant axis"),
    "CumSum": Operator(_cumulative("cumsum", lambda a, b: a + b, 0), "constant axis"),
    "ReduceL1": Operator(_reduce(relax.op.sum, relax.op.abs, _same, 0)),
    "ReduceL2": Operator(_reduce(relax.op.sum, _square, relax.op.sqrt, 0)),
    "ReduceLogSum": Operator(_reduce(relax.op.sum, _same, relax.op.log, -np.inf)),
    "ReduceLogSumExp": Operator(_log_sum_exp),
    "ReduceMax": Operator(_extreme(relax.op.max, -np.inf)),
    "ReduceMean": Operator(_reduce(relax.op.mean, _same, _same, np.nan)),
    "ReduceMin": Operator(_extreme(relax.op.min, np.inf)),
    "ReduceProd": Operator(_reduce(relax.op.prod, _same, _same, 1)),
    "ReduceSum": Operator(_reduce(relax.op.sum, _same, _same, 0)),
    "ReduceSumSquare": Operator(_reduce(relax.op.sum, _square, _same, 0)),
    "TopK": Operator(_top_k, "constant k"),
}
