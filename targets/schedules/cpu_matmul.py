"""Matrix products: by constant weights (packed, batch 1 or more rows) and of two activations (attention).

The register tile is that of cpu_conv.py with matrix rows for pixels. A single row walks through the weights at memory
speed; packed panels [panel][k][column in panel] make it one stream.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from tvm import te, tirx

from tilewright.targets.base import Device
from tilewright.targets.schedules.cpu_spatial import panel_nest, parallel_if, store_tile
from tilewright.targets.schedules.cpu_tile import Core, best_tile
from tilewright.targets.schedules.fused import Fused, mark, take_apart
from tilewright.targets.schedules.ir import SERIAL, RegisterTile, i64, i64s, loop, padded, ramp, sequence, unflatten

_DTYPE = "float32"


@dataclass(frozen=True)
class Matmul:
    """``[*batch, rows, depth] x [*other, depth, columns]``; ``other`` broadcasts to ``batch``, and () is one matrix.

    Attributes:
        panel: columns that are packed or computed together.
        tile: rows that share registers.
    """

    batch: tuple[int, ...]
    other: tuple[int, ...]
    rows: int
    depth: int
    columns: int
    panel: int = 0
    tile: int = 0

    @classmethod
    def tiled(
        cls, batch: Sequence[int], other: Sequence[int], rows: int, depth: int, columns: int, core: Core
    ) -> Matmul:
        length = rows if other else rows * math.prod(batch)
        tile = best_tile(length, columns, depth, core)
        return cls(tuple(batch), tuple(other), rows, depth, columns, tile.vectors * core.lanes, tile.rows)

    @property
    def output(self) -> tuple[int, ...]:
        return (*self.batch, self.rows, self.columns)


def pack_matrix(weights: npt.NDArray[np.generic], panel: int) -> npt.NDArray[np.generic]:
    """[depth, columns] as [panel][depth][column in panel], padded with zeros."""
    depth, columns = weights.shape
    panels = -(-columns // panel)
    packed = np.zeros((depth, panels * panel), weights.dtype)
    packed[:, :columns] = weights
    return np.ascontiguousarray(packed.reshape(depth, panels, panel).transpose(1, 0, 2))


def packing(shape: Matmul) -> Any:
    """The PrimFunc (weights [depth, columns], packed weights) that does what `pack_matrix` does, for those known at
    load."""
    s = shape
    weight = te.placeholder(i64s(s.depth, s.columns), _DTYPE, "weight")

    def element(panel: Any, k: Any, lane: Any) -> Any:
        column = panel * s.panel + lane
        value = weight[k, column]
        return value if s.columns % s.panel == 0 else padded(column < s.columns, value)

    return te.create_prim_func(
        [weight, te.compute(i64s(-(-s.columns // s.panel), s.depth, s.panel), element, name="pack")]
    )


def dense(shape: Matmul) -> Any:
    """The PrimFunc (input [*batch, rows, depth], packed weights, output) of a product by constant weights."""
    s = shape
    panels = -(-s.columns // s.panel)
    data = te.placeholder(i64s(*s.batch, s.rows, s.depth), _DTYPE, "data")
    weight = te.placeholder(i64s(panels, s.depth, s.panel), _DTYPE, "weight")
    k = te.reduce_axis((i64(0), i64(s.depth)), "k")

    def element(*index: Any) -> Any:
        *row, column = index
        return te.sum(data(*row, k) * weight[column // s.panel, k, column % s.panel], axis=k)

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

    def tile_at(first: Any, size: int, panel: Any, columns: int) -> Any:
        tile = RegisterTile.make(size, -(-columns // core.lanes), core.lanes)

        def step(k: Any) -> Any:
            scalars = [tirx.BufferLoad(data, [*flat, (first + r) * s.depth + k]) for r in range(size)]
            vectors = [
                tirx.BufferLoad(weight, [panel, k, ramp(i64(v * core.lanes), core.lanes)]) for v in range(tile.vectors)
            ]
            return tile.multiply_add(scalars, vectors)

        def position(row: int) -> list[Any]:
            return unflatten(first + row, (*s.batch, s.rows))

        stores = store_tile(fused, tile, panel * s.panel, columns, position)
        return sequence([*tile.fill(0.0), loop(s.depth, step, name="k"), *stores])

    full, rest = divmod(total, s.tile)
    work = total * s.depth * s.columns
    parts = []
    for first, count, size in ((0, full, s.tile), (full * s.tile, 1, rest)):
        if count and size:

            def rows(t: Any, panel: Any, columns: int, first: int = first, size: int = size) -> Any:
                return tile_at(t * s.tile + first, size, panel, columns)

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
