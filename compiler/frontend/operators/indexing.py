"""Gather and scatter. Indices that come from data are clamped, so that no input can make a kernel leave its buffers."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from tvm import relax, te, tirx

from tilewright.frontend.operators.layer import Array, Expr, Layer, Operator, Refusal, const


def _indices(layer: Layer, index: int, extents: Array | int) -> Expr:
    """Index input ``index``, counted from the front and checked where it is known."""
    array = layer.array(index)
    if array is None:
        return layer[index]
    if ((array < -np.asarray(extents)) | (array >= np.asarray(extents))).any():
        raise Refusal(f"an index in '{layer.node.inputs[index]}' is out of range")
    return const(np.where(array < 0, array + extents, array), "int32")


def _position(i: Any, extent: int) -> Any:
    """A valid position for an index that may be negative or, in a wrong input, out of range."""
    i = i.astype("int32")
    return tirx.max(tirx.min(tirx.Select(i < 0, i + extent, i), extent - 1), 0)


def _gather(layer: Layer) -> Expr:
    axis, shape, rank = layer.axis(0), layer.shape(), layer.rank(1)
    known = layer.array(1) is not None
    indices = _indices(layer, 1, shape[axis])

    def compute(x: Any, chosen: Any) -> Any:
        def at(*index: Any) -> Any:
            i = chosen(*index[axis : axis + rank])
            i = i if known else _position(i, shape[axis])
            return x(*index[:axis], i, *index[axis + rank :])

        return te.compute(layer.out_shape(), at, name="gather")

    return layer.te(compute, layer[0], indices)


def _gather_elements(layer: Layer) -> Expr:
    axis, shape = layer.axis(0), layer.shape()

    def compute(x: Any, chosen: Any) -> Any:
        def at(*index: Any) -> Any:
            i = _position(chosen(*index), shape[axis])
            return x(*index[:axis], i, *index[axis + 1 :])

        return te.compute(layer.out_shape(), at, name="gather")

    return layer.te(compute, layer[0], _indices(layer, 1, shape[axis]))


def _gather_nd(layer: Layer) -> Expr:
    batch, shape, (*outer, depth) = layer.integer("batch_dims", 0), layer.shape(), layer.shape(1)
    indices = _indices(layer, 1, np.array(shape[batch : batch + depth]))

    def compute(x: Any, chosen: Any) -> Any:
        def at(*index: Any) -> Any:
            row = index[: len(outer)]
            picked = [_position(chosen(*row, k), shape[batch + k]) for k in range(depth)]
            return x(*row[:batch], *picked, *index[len(outer) :])

        return te.compute(layer.out_shape(), at, name="gather")

    return layer.te(compute, layer[0], indices)


def _scatter_elements(layer: Layer) -> Expr:
    """Each output looks for the updates that name it: no two threads write one element, on any target."""
    axis, shape, updates = layer.axis(0), layer.shape(), layer.shape(1)
    if 0 in updates:
        return layer[0]
    others = [a for a in range(len(shape)) if a != axis and updates[a] < shape[a]]

    def search(chosen: Any, index: Sequence[Any], combine: Callable[[Any, Any], Any]) -> Any:
        j = te.reduce_axis((0, updates[axis]), name="j")
        inside = [index[a] < updates[a] for a in others]
        source = [j if a == axis else p for a, p in enumerate(index)]
        hit = _wanted(chosen(*source), shape[axis]) == index[axis]
        return combine(tirx.if_then_else(tirx.all(*inside), hit, False) if inside else hit, source), j

    reduction = layer.text("reduction", "none")
    indices = _indices(layer, 1, shape[axis])
    if reduction != "none":
        return _scatter_reduce(layer, indices, reduction, search)

    def winner(chosen: Any) -> Any:
        def at(*index: Any) -> Any:
            value, j = search(
                chosen, index, lambda hit, source: tirx.Select(hit, source[axis].var, tirx.const(-1, "int32"))
            )
            return te.max(value, axis=j)

        return te.compute(shape, at, name="winner")

    last = layer.te(winner, indices, name="scatter_winner")

    def compute(x: Any, update: Any, chosen: Any) -> Any:
        def at(*index: Any) -> Any:
            j = chosen(*index)
            source = [j if a == axis else p for a, p in enumerate(index)]
            return tirx.if_then_else(j >= 0, update(*source), x(*index))

        return te.compute(shape, at, name="scatter")

    return layer.te(compute, layer[0], layer[2], last)


def _wanted(i: Any, extent: int) -> Any:
    i = i.astype("int32")
    return tirx.Select(i < 0, i + extent, i)


def _scatter_reduce(layer: Layer, indices: Expr, reduction: str, search: Callable[..., Any]) -> Expr:
    dtype = layer.dtype()
    product = te.comm_reducer(lambda a, b: a * b, lambda t: tirx.const(1, t), name="product")
    combine, reducer, identity = {
        "add": (lambda a, b: a + b, te.sum, tirx.const(0, dtype)),
        "mul": (lambda a, b: a * b, product, tirx.const(1, dtype)),
        "min": (tirx.min, te.min, tirx.max_value(dtype)),
        "max": (tirx.max, te.max, tirx.min_value(dtype)),
    }[reduction]

    def gathered(chosen: Any, update: Any) -> Any:
        def at(*index: Any) -> Any:
            value, j = search(chosen, index, lambda hit, source: tirx.if_then_else(hit, update(*source), identity))
            return reducer(value, axis=j)

        return te.compute(layer.shape(), at, name="updates")

    total = layer.te(gathered, indices, layer[2], name="scatter_updates")

    def merge(x: Any, more: Any) -> Any:
        return te.compute(layer.shape(), lambda *i: combine(x(*i), more(*i)), name="scatter")

    return layer.te(merge, layer[0], total)


def _scatter_nd(layer: Layer) -> Expr:
    """As ScatterElements: each position of the indexed axes searches the rows of indices."""
    shape, (*outer, depth) = layer.shape(), layer.shape(1)
    rows, rest = math.prod(outer), shape[depth:]
    reduction = layer.text("reduction", "none")
    if rows == 0:
        return layer[0]
    flat_indices = layer.emit(relax.op.reshape(_indices(layer, 1, np.array(shape[:depth])), (rows, depth)))
    flat_updates = layer.emit(relax.op.reshape(layer[2], (rows, *rest)))

    def hit(chosen: Any, j: Any, position: Sequence[Any]) -> Any:
        return tirx.all(*(_wanted(chosen(j, k), shape[k]) == position[k] for k in range(depth)))

    if reduction == "none":

        def winner(chosen: Any) -> Any:
            j = te.reduce_axis((0, rows), name="j")
            none = tirx.const(-1, "int32")
            return te.compute(
                shape[:depth],
                lambda *position: te.max(tirx.Select(hit(chosen, j, position), j.var, none), axis=j),
                name="winner",
            )

        last = layer.te(winner, flat_indices, name="scatter_winner")

        def compute(x: Any, update: Any, chosen: Any) -> Any:
            def at(*index: Any) -> Any:
                j = chosen(*index[:depth])
                return tirx.if_then_else(j >= 0, update(j, *index[depth:]), x(*index))

            return te.compute(shape, at, name="scatter")

        return layer.te(compute, layer[0], flat_updates, last)

    def search(chosen: Any, index: Sequence[Any], combine: Callable[[Any, Any], Any]) -> Any:
        j = te.reduce_axis((0, rows), name="j")
        return combine(hit(chosen, j, index[:depth]), (j, *index[depth:])), j

    return _scatter_reduce(_with_updates(layer, flat_updates), flat_indices, reduction, search)


def _with_updates(layer: Layer, updates: Expr) -> Layer:
    return Layer(layer.builder, layer.node, layer.opset, (*layer.inputs[:2], updates))


def _one_hot(layer: Layer) -> Expr:
    depth = layer.constant(1, "depth")
    assert depth is not None
    n, out = int(depth.item()), layer.out_shape()
    axis = layer.axis(-1, len(out))

    def compute(chosen: Any, values: Any) -> Any:
        def at(*index: Any) -> Any:
            i = chosen(*index[:axis], *index[axis + 1 :]).astype("int64")
            i = tirx.Select(i < 0, i + n, i)
            return tirx.Select(i == index[axis].astype("int64"), values(1), values(0))

        return te.compute(out, at, name="one_hot")

    return layer.te(compute, layer[0], layer[2])


def _compress(layer: Layer) -> Expr:
    condition = layer.constant(1, "the condition")
    assert condition is not None
    data = layer[0]
    if layer.has("axis"):
        axis = layer.axis(None)
    else:
        axis, data = 0, layer.emit(relax.op.reshape(layer[0], (math.prod(layer.shape()),)))
    kept = np.flatnonzero(condition)
    if not kept.size:
        raise Refusal("Compress keeps no element")
    return relax.op.take(data, const(kept, "int64"), axis)


def _tensor_scatter(layer: Layer) -> Expr:
    """Writes an update into a cache at a position of its own for each element of the batch."""
    shape, length = layer.shape(), layer.shape(1)
    axis = layer.axis(-2)
    circular = layer.text("mode", "linear") == "circular"
    size, span = shape[axis], length[axis]
    starts = layer.optional(2)

    def compute(past: Any, update: Any, *start: Any) -> Any:
        def at(*index: Any) -> Any:
            offset = index[axis] - (start[0](index[0]).astype("int32") if start else 0)
            if circular:
                offset = tirx.floormod(offset, size)
            source = [offset if a == axis else p for a, p in enumerate(index)]
            return tirx.if_then_else(tirx.all(offset >= 0, offset < span), update(*source), past(*index))

        return te.compute(shape, at, name="tensor_scatter")

    return layer.te(compute, layer[0], layer[1], *([] if starts is None else [starts]))


OPERATORS: Mapping[str, Operator] = {
    "Compress": Operator(_compress, "constant condition"),
    "Gather": Operator(_gather),
    "GatherElements": Operator(_gather_elements),
    "GatherND": Operator(_gather_nd),
    "OneHot": Operator(_one_hot, "constant depth"),
    "Scatter": Operator(_scatter_elements),
    "ScatterElements": Operator(_scatter_elements),
    "ScatterND": Operator(_scatter_nd),
    "TensorScatter": Operator(_tensor_scatter),
}
