"""Matrix products: by constant weights (packed, batch 1 or more rows) and of two activations (attention).

The register tile is that of cpu_conv.py with matrix rows for pixels. Products of few rows take as long as reading the
weights, once. These are packed as [vector of columns][k][column in vector], which makes each vector of a tile a stream
of its own: one core reads several streams faster than one, for hardware prefetches within a page of each. Where a panel
is too large for the second-level cache and there are more rows than a register tile has, all tiles take turns on a few
steps of the reduction, whose weights stay in the first level meanwhile; their sums wait in between.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from tvm import te, tirx

from tilewright.targets.base import Device
from tilewright.targets.schedules.cpu_spatial import fetch_ahead, panel_nest, parallel_if, store_tile
from tilewright.targets.schedules.cpu_tile import Core, best_tile
from tilewright.targets.schedules.fused import Fused, mark, take_apart
from tilewright.targets.schedules.ir import (
    SERIAL,
    RegisterTile,
    broadcast,
    i64,
    i64s,
    loop,
    padded,
    ramp,
    sequence,
    unflatten,
)

_DTYPE = "float32"


@dataclass(frozen=True)
class Matmul:
    """``[*batch, rows, depth] x [*other, depth, columns]``; ``other`` broadcasts to ``batch``, and () is one matrix.

    Attributes:
        panel: columns that are computed together.
        tile: rows that share registers.
        lanes: columns that are packed together.
        group: rows whose tiles take turns on a few steps of the reduction, ``block``.
        streamed: whether weights are too many to stay in the second-level cache.
    """

    batch: tuple[int, ...]
    other: tuple[int, ...]
    rows: int
    depth: int
    columns: int
    panel: int = 0
    tile: int = 0
    lanes: int = 1
    group: int = 0
    block: int = 0
    streamed: bool = False

    @classmethod
    def tiled(
        cls, batch: Sequence[int], other: Sequence[int], rows: int, depth: int, columns: int, core: Core
    ) -> Matmul:
        length = rows if other else rows * math.prod(batch)
        tile = best_tile(length, columns, depth, core)
        return cls(tuple(batch), tuple(other), rows, depth, columns, tile.vectors * core.lanes, tile.rows)

    @classmethod
    def constant(cls, batch: Sequence[int], rows: int, depth: int, columns: int, core: Core) -> Matmul:
        """By constant weights."""
        streamed = core.streams(4 * depth * columns)
        if streamed:  # from the last cache or memory, which also hold up loads of the input
            core = replace(
                core, l2_bytes_per_cycle=core.l2_bytes_per_cycle / 2, loads_per_cycle=core.loads_per_cycle / 2
            )
        shape = replace(cls.tiled(batch, (), rows, depth, columns, core), lanes=core.lanes, streamed=streamed)
        piece, limit = 4 * depth * shape.panel, core.l1_bytes // 2
        if not core.streams(piece):
            return replace(shape, block=depth, group=shape.tile)
        block = -(-depth // -(-piece // limit))
        return replace(shape, block=block, group=max(1, limit // (4 * shape.panel * shape.tile)) * shape.tile)

    @property
    def output(self) -> tuple[int, ...]:
        return (*self.batch, self.rows, self.columns)

    @property
    def packed(self) -> tuple[int, int, int]:
        """Shape of the packed weights."""
        return -(-self.columns // self.lanes), self.depth, self.lanes


def pack_matrix(weights: npt.NDArray[np.generic], lanes: int) -> npt.NDArray[np.generic]:
    """[depth, columns] as [vector][depth][column in vector], padded with zeros."""
    depth, columns = weights.shape
    vectors = -(-columns // lanes)
    packed = np.zeros((depth, vectors * lanes), weights.dtype)
    packed[:, :columns] = weights
    return np.ascontiguousarray(packed.reshape(depth, vectors, lanes).transpose(1, 0, 2))


def packing(shape: Matmul) -> Any:
    """The PrimFunc (weights [depth, columns], packed weights) that does what `pack_matrix` does, for those known at
    load."""
    s = shape
    weight = te.placeholder(i64s(s.depth, s.columns), _DTYPE, "weight")

    def element(vector: Any, k: Any, lane: Any) -> Any:
        column = vector * s.lanes + lane
        value = weight[k, column]
        return value if s.columns % s.lanes == 0 else padded(column < s.columns, value)

    return te.create_prim_func([weight, te.compute(i64s(*s.packed), element, name="pack")])


def dense(shape: Matmul) -> Any:
    """The PrimFunc (input [*batch, rows, depth], packed weights, output) of a product by constant weights."""
    s = shape
    data = te.placeholder(i64s(*s.batch, s.rows, s.depth), _DTYPE, "data")
    weight = te.placeholder(i64s(*s.packed), _DTYPE, "weight")
    k = te.reduce_axis((i64(0), i64(s.depth)), "k")

    def element(*index: Any) -> Any:
        *row, column = index
        return te.sum(data(*row, k) * weight[column // s.lanes, k, column % s.lanes], axis=k)

    return _fusable(
        [data, weight, te.compute(i64s(*s.output), element, name="dense", attrs=mark("dense", **asdict(s)))]
    )


def matmul(shape: Matmul) -> Any:
    """The PrimFunc (left [*batch, rows, depth], right [*other, depth, columns], output) of two activations."""
    s = shape
    left = te.placeholder(i64s(*s.batch, s.rows, s.depth), _DTYPE, "left")
    right = te.placeholder(i64s(*s.other, s.depth, s.columns), _DTYPE, "right")
    k = te.reduce_axis((i64(0), i64(s.depth)), "k")

    def element(*index: Any) -> Any:
        *batch, row, column = index
        return te.sum(left(*batch, row, k) * right(*_broadcast(s, batch), k, column), axis=k)

    result = te.compute(i64s(*s.output), element, name="matmul", attrs=mark("matmul", **asdict(s)))
    return _fusable([left, right, result])


def _broadcast(shape: Matmul, batch: Sequence[Any]) -> list[Any]:
    """Where the right operand has the matrix for a batch index."""
    trailing = batch[len(batch) - len(shape.other) :]
    return [i64(0) if size == 1 else index for size, index in zip(shape.other, trailing, strict=True)]


def _fusable(tensors: list[Any]) -> Any:
    return te.create_prim_func(tensors).with_attr("op_pattern", 4)


def matmul_rule(func: Any, device: Device) -> Any:
    """Schedules a fused ``dense`` or ``matmul`` of this file."""
    for template, emit in (("dense", _dense_body), ("matmul", _matmul_body)):
        fused = take_apart(func, template)
        if fused is not None and len(fused.operands) == 2:
            parameters: dict[str, Any] = {
                key: tuple(value) if isinstance(value, list) else value for key, value in fused.parameters.items()
            }
            return fused.finish(emit(fused, Matmul(**parameters), Core.of(device)))
    return None


def _dense_body(fused: Fused, shape: Matmul, core: Core) -> Any:
    s = shape
    data, weight = fused.operands
    flat = [i64(0)] * (len(s.batch) + 1)
    total = math.prod(s.batch) * s.rows

    def reduction(tile: RegisterTile, row: Any, vector: Any, begin: Any, steps: Any) -> Any:
        """``tile`` += rows from ``row`` by vectors of columns from ``vector``, of that part of the depth."""

        def step(index: Any) -> Any:
            k = begin + index
            scalars = [tirx.BufferLoad(data, [*flat, (row + r) * s.depth + k]) for r in range(tile.rows)]
            vectors = [tirx.BufferLoad(weight, [vector + v, k, ramp(i64(0), s.lanes)]) for v in range(tile.vectors)]
            ahead: list[Any] = []
            for v in range(tile.vectors if s.streamed else 0):
                ahead += fetch_ahead(weight, [vector + v, k, i64(0)], s.lanes)
            return sequence([*ahead, tile.multiply_add(scalars, vectors)])

        return loop(steps, step, name="k")

    def group_at(first: Any, rows: int, panel: Any, columns: int) -> Any:
        count = -(-columns // s.lanes)
        vector = panel * (s.panel // s.lanes)

        def stored(tile: RegisterTile, row: Any) -> list[Any]:
            def position(r: Any) -> list[Any]:
                return unflatten(row + r, (*s.batch, s.rows))

            return store_tile(fused, tile, panel * s.panel, columns, position)

        if rows <= s.tile:
            tile = RegisterTile.make(rows, count, s.lanes)
            return sequence([*tile.fill(0.0), reduction(tile, first, vector, i64(0), s.depth), *stored(tile, first)])
        sums = tirx.decl_buffer(i64s(rows, count * s.lanes), _DTYPE, name="sums", scope="local")

        def at(row: Any, v: int) -> list[Any]:
            return [row, ramp(i64(v * s.lanes), s.lanes)]

        def tiles(body: Callable[[RegisterTile, Any], list[Any]]) -> Any:
            """For each tile of rows: its sums into registers, then ``body(registers, first row of the tile)``."""

            def one(row: Any, size: int) -> Any:
                tile = RegisterTile.make(size, count, s.lanes)
                loads = [
                    tile.combine(r, v, lambda _, r=r, v=v: tirx.BufferLoad(sums, at(row + r, v)))  # type: ignore[misc]
                    for r in range(size)
                    for v in range(count)
                ]
                return sequence([tirx.AllocBuffer(tile.buffer), *loads, *body(tile, row)])

            full, rest = divmod(rows, s.tile)
            parts = [loop(full, lambda t: one(t * s.tile, s.tile), name="tile")]
            return sequence([*parts, one(i64(full * s.tile), rest)] if rest else parts)

        def clear(row: Any) -> Any:
            zero = broadcast(tirx.const(0.0, _DTYPE), s.lanes)
            return sequence([tirx.BufferStore(sums, zero, at(row, v)) for v in range(count)])

        def block(index: Any) -> Any:
            begin = index * s.block
            steps = s.block if s.depth % s.block == 0 else tirx.min(i64(s.block), s.depth - begin)

            def add(tile: RegisterTile, row: Any) -> list[Any]:
                back = [
                    tirx.BufferStore(sums, tile.load(r, v), at(row + r, v))
                    for r in range(tile.rows)
                    for v in range(count)
                ]
                return [reduction(tile, first + row, vector, begin, steps), *back]

            return tiles(add)

        return sequence(
            [
                tirx.AllocBuffer(sums),
                loop(rows, clear, name="row"),
                loop(-(-s.depth // s.block), block, name="block"),
                tiles(lambda tile, row: stored(tile, first + row)),
            ]
        )

    full, rest = divmod(total, s.group)
    work = total * s.depth * s.columns
    parts = []
    for first, count, size in ((0, full, s.group), (full * s.group, 1, rest)):
        if count and size:

            def rows(t: Any, panel: Any, columns: int, first: int = first, size: int = size) -> Any:
                return group_at(t * s.group + first, size, panel, columns)

            parts += panel_nest(count, s.columns, s.panel, 4 * s.depth * s.columns, work, core, rows)
    return sequence(parts)


def _matmul_body(fused: Fused, shape: Matmul, core: Core) -> Any:
    s = shape
    left, right = fused.operands
    lanes = core.lanes
    vectors = s.panel // lanes
    pieces, done = [], 0  # (first column, lanes, vectors, repetitions): no vector may reach beyond a row of the input
    for width, count in ((lanes, vectors), (lanes, 1), (s.columns % lanes, 1)):
        repeat = (s.columns - done) // (width * count) if width else 0
        if repeat:
            pieces.append((done, width, count, repeat))
            done += repeat * width * count

    def tile_at(batch: list[Any], row: Any, size: int, column: Any, width: int, count: int) -> Any:
        tile = RegisterTile.make(size, count, width)

        def step(k: Any) -> Any:
            scalars = [tirx.BufferLoad(left, [*batch, row + r, k]) for r in range(size)]
            at = [*_broadcast(s, batch), k]
            weights = [tirx.BufferLoad(right, [*at, ramp(column + v * width, width)]) for v in range(count)]
            return tile.multiply_add(scalars, weights)

        stores = store_tile(fused, tile, column, count * width, lambda r: [*batch, row + r])
        return sequence([*tile.fill(0.0), loop(s.depth, step, name="k"), *stores])

    def columns(batch: list[Any], row: Any, size: int) -> Any:
        def piece(first: int, width: int, count: int, repeat: int) -> Any:
            return loop(
                repeat, lambda t: tile_at(batch, row, size, t * (width * count) + first, width, count), name="panel"
            )

        return sequence([piece(*item) for item in pieces])

    full, rest = divmod(s.rows, s.tile)
    work = math.prod(s.batch) * s.rows * s.depth * s.columns

    def one_row(index: Any) -> Any:
        return columns(unflatten(tirx.floordiv(index, full), s.batch), tirx.floormod(index, full) * s.tile, s.tile)

    parts = []
    kind = parallel_if(work, core)
    if full:
        count = math.prod(s.batch) * full
        parts.append(loop(count, one_row, kind if count > 1 else SERIAL, "row"))
    if rest:
        count = math.prod(s.batch)
        body = loop(
            count,
            lambda index: columns(unflatten(index, s.batch), i64(full * s.tile), rest),
            kind if count > 1 and not full else SERIAL,
            "row",
        )
        parts.append(body)
    return sequence(parts)
