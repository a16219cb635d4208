"""Elementwise kernels that read one tensor in another order of axes: tiles are transposed in registers.

A straightforward loop reads or writes one element a cache line. Here a square of as many vectors as a vector has lanes
is loaded along the source's last axis, transposed by shuffles (Eklundh 1972: log2(n) rounds of n exchanges), and goes
through the rest of the expression along the result's last axis.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import tvm
import tvm_ffi
from tvm import s_tir, tirx

from tilewright.targets.base import Device
from tilewright.targets.schedules.cpu_fallback import PARALLEL_WORK
from tilewright.targets.schedules.cpu_tile import Core
from tilewright.targets.schedules.fused import inline_elementwise, is_spatial, leaf_blocks
from tilewright.targets.schedules.ir import (
    PARALLEL,
    SERIAL,
    VECTORIZED,
    RegisterTile,
    i64,
    loop,
    ramp,
    sequence,
    substitute,
)


def transpose_rule(func: Any, device: Device) -> Any:
    """Schedules a PrimFunc of one elementwise block that reads a tensor transposed; None for any other."""
    sch = s_tir.Schedule(func)
    inline_elementwise(sch)
    blocks = leaf_blocks(sch)
    if len(blocks) != 1 or not is_spatial(sch, blocks[0]):
        return None
    block = sch.get(blocks[0])
    axes = [axis.var for axis in block.iter_vars]
    extents = [int(axis.dom.extent) for axis in block.iter_vars]
    if len(axes) < 2 or not _are(block.body.indices, axes, extents):
        return None
    statement = _merge_axes(block.body, axes, extents)
    for load in _loads(statement.value):
        across = _transposed_axis(load, axes, extents)
        if across is not None:
            kernel = _Transpose(statement, tuple(axes), tuple(extents), load, across, Core.of(device).lanes)
            if kernel.fits():
                return tirx.PrimFunc(func.params, kernel.body(), func.ret_type, attrs=func.attrs)
    return None


def _merge_axes(statement: Any, axes: Sequence[Any], extents: list[int]) -> Any:
    """The statement with neighbouring axes made one wherever every tensor has them as neighbours, as images have rows
    and columns; ``extents`` change with it: of two merged axes the first has one element, and all are the second's.
    """
    for first in reversed(range(len(axes) - 1)):
        pair, size = axes[first : first + 2], extents[first + 1]
        if extents[first] == 1 or size == 1:
            continue
        reads = [(load.source.shape, load.indices) for load in _loads(statement.value)]
        places = [(statement.buffer.shape, statement.indices), *reads]
        if all(neighbours(shape, indices, pair, size) for shape, indices in places) and _only_indexes(statement, pair):
            value = substitute(statement.value, [(pair[0], i64(0))])
            indices = [substitute(index, [(pair[0], i64(0))]) for index in statement.indices]
            statement = tirx.BufferStore(statement.buffer, value, indices)
            extents[first + 1] *= extents[first]
            extents[first] = 1
    return statement


def neighbours(shape: Sequence[Any], indices: Sequence[Any], pair: Sequence[Any], size: int) -> bool:
    """Whether indices hold both axes of a pair side by side, the second over a whole axis; or neither."""
    at = [[place for place, index in enumerate(indices) if index.same_as(axis)] for axis in pair]
    if not any(at):
        return True
    return len(at[0]) == len(at[1]) == 1 and at[1][0] == at[0][0] + 1 and int(shape[at[1][0]]) == size


def _only_indexes(statement: Any, pair: Sequence[Any]) -> bool:
    """Whether the axes of a pair occur in the value as plain indices only."""
    counts = [0, 0]

    def visit(node: Any) -> None:
        if isinstance(node, tirx.Var):
            counts[0] += any(node.same_as(axis) for axis in pair)
        elif isinstance(node, tvm.ir.TensorLoad):
            counts[1] += sum(index.same_as(axis) for index in node.indices for axis in pair)

    tvm_ffi.structural_walk(statement.value, visit, order="pre")
    return counts[0] == counts[1]


def exchange(vectors: Sequence[Any], bind: Callable[[Any], Any]) -> list[Any]:
    """As many vectors as they have lanes, transposed.

    Args:
        bind: gives an expression a name, so that it is computed once.
    """
    n, result = len(vectors), list(vectors)
    half = 1
    while half < n:
        low = [lane if not lane & half else n + lane - half for lane in range(n)]
        high = [lane + half if not lane & half else n + lane for lane in range(n)]
        for i in (i for i in range(n) if not i & half):
            a, b = result[i], result[i + half]
            result[i], result[i + half] = (bind(tirx.Shuffle([a, b], order)) for order in (low, high))
        half *= 2
    return result


def _loads(value: Any) -> list[Any]:
    found: list[Any] = []

    def visit(node: Any) -> None:
        if isinstance(node, tvm.ir.TensorLoad):
            found.append(node)

    tvm_ffi.structural_walk(value, visit, order="pre")
    return found


def _are(indices: Sequence[Any], axes: Sequence[Any], extents: Sequence[int]) -> bool:
    """Whether indices are the axes, in order."""
    return len(indices) == len(axes) and all(
        index.same_as(axis) or (extent == 1 and isinstance(index, tirx.IntImm))
        for index, axis, extent in zip(indices, axes, extents, strict=True)
    )


def _transposed_axis(load: Any, axes: Sequence[Any], extents: Sequence[int]) -> int | None:
    """Which axis of the result runs along the last axis of a load whose indices are all axes; None for the last."""
    places = []
    for index in load.indices:
        found = [place for place, axis in enumerate(axes) if index.same_as(axis)]
        if not found and not isinstance(index, tirx.IntImm):
            return None
        places += found
    used = {place for place, extent in enumerate(extents) if extent > 1}
    if not places or not used <= set(places) or len(set(places)) != len(places) or places[-1] == len(axes) - 1:
        return None
    return places[-1] if load.indices[-1].same_as(axes[places[-1]]) else None


@dataclass(frozen=True)
class _Transpose:
    """The kernel: ``across`` is the axis of the result along which the source is contiguous."""

    statement: Any
    axes: tuple[Any, ...]
    extents: tuple[int, ...]
    load: Any
    across: int
    lanes: int

    def fits(self) -> bool:
        """Whether there is at least one whole tile."""
        return self.extents[self.across] >= self.lanes and self.extents[-1] >= self.lanes

    def body(self) -> Any:
        n, rows, columns = self.lanes, self.extents[self.across], self.extents[-1]
        outer = [place for place in range(len(self.axes) - 1) if place != self.across]
        work = rows * columns
        for place in outer:
            work *= self.extents[place]
        kind = PARALLEL if work >= PARALLEL_WORK else SERIAL

        def at(position: dict[int, Any]) -> Any:
            def tile(row: Any) -> Any:
                parts = [loop(columns // n, lambda c: self._tile(position, row * n, c * n), name="column")]
                if columns % n:
                    first = columns - columns % n
                    parts.append(
                        loop(n, lambda r: self._plain(position, row * n + r, i64(first), columns % n), name="row")
                    )
                return sequence(parts)

            parallel = not outer and rows // n > 1
            parts = [loop(rows // n, tile, kind if parallel else SERIAL, name="tile")]
            if rows % n:
                first = rows - rows % n
                parts.append(loop(rows % n, lambda r: self._plain(position, r + first, i64(0), columns), name="row"))
            return sequence(parts)

        def nest(rest: list[int], position: dict[int, Any], kind: Any) -> Any:
            if not rest:
                return at(position)
            place, *rest = rest
            if self.extents[place] == 1:
                return nest(rest, {**position, place: i64(0)}, kind)
            return loop(
                self.extents[place], lambda v: nest(rest, {**position, place: v}, SERIAL), kind, name=f"a{place}"
            )

        outer = [place for place in outer if self.extents[place] > 1] + [p for p in outer if self.extents[p] == 1]
        if not any(self.extents[place] > 1 for place in outer):
            position = {place: i64(0) for place in outer}
            outer = []
            return at(position)
        return nest(outer, {}, kind)

    def _indices(self, position: dict[int, Any], row: Any, column: Any) -> list[Any]:
        values = {**position, self.across: row, len(self.axes) - 1: column}
        return [values[place] for place in range(len(self.axes))]

    def _plain(self, position: dict[int, Any], row: Any, first: Any, columns: int) -> Any:
        """A piece of a row, element by element."""

        def one(lane: Any) -> Any:
            indices = self._indices(position, row, first + lane)
            value = substitute(self.statement.value, list(zip(self.axes, indices, strict=True)))
            return tirx.BufferStore(self.statement.buffer, value, indices)

        return loop(columns, one, name="lane")

    def _tile(self, position: dict[int, Any], row: Any, column: Any) -> Any:
        n = self.lanes
        source = self.load.source
        dtype = str(source.dtype)
        tile = RegisterTile.make(n, 1, n, "square", dtype)
        statements: list[Any] = [tirx.AllocBuffer(tile.buffer)]

        def bind(value: Any) -> Any:
            var = tirx.Var("v", f"{dtype}x{n}")
            statements.append(tirx.Bind(var, value))
            return var

        vectors = []
        for lane in range(n):
            indices = self._indices(position, row, column + lane)
            at = [substitute(index, list(zip(self.axes, indices, strict=True))) for index in self.load.indices]
            vectors.append(bind(tirx.BufferLoad(source, [*at[:-1], ramp(at[-1], n)])))
        vectors = exchange(vectors, bind)
        statements += [tirx.BufferStore(tile.buffer, vector, [ramp(i64(i * n), n)]) for i, vector in enumerate(vectors)]
        for i in range(n):

            def one(lane: Any, i: int = i) -> Any:
                def replace(node: Any) -> Any:
                    same = node.source.same_as(source) and tvm_ffi.structural_equal(node, self.load)
                    return tirx.BufferLoad(tile.buffer, [lane + i * n]) if same else node

                indices = self._indices(position, row + i, column + lane)
                value = tvm_ffi.structural_map(self.statement.value, (tvm.ir.TensorLoad, replace))
                value = substitute(value, list(zip(self.axes, indices, strict=True)))
                return tirx.BufferStore(self.statement.buffer, value, indices)

            statements.append(loop(n, one, VECTORIZED, "lane"))
        return sequence(statements)
