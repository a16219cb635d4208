"""Products of few rows: how work-items share outputs and reductions, and how their sums come together.

A work-item computes a few neighbouring outputs of a few rows of the activations. Work-items side by side have
neighbouring outputs, so that together they load whole lines of packed weights; those one behind the other share a
reduction and add up through local memory, because batch 1 has too few outputs to keep a GPU busy.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tvm import tirx

from tilewright.targets.schedules.fused import Fused
from tilewright.targets.schedules.gpu_common import GpuLimits
from tilewright.targets.schedules.gpu_ir import between, guarded, launch
from tilewright.targets.schedules.ir import i64, i64s, loop, sequence, unflatten

_BUSY = 4096  # work-items that keep a small GPU busy


@dataclass(frozen=True)
class Grid:
    """Who computes what.

    Attributes:
        outputs: of the layer.
        height: outputs of a work-item.
        lanes: work-items side by side.
        tile: rows of a work-item.
        splits: work-items that share a reduction.
    """

    outputs: int
    height: int
    lanes: int
    tile: int
    splits: int = 1

    @property
    def tiles(self) -> int:
        """Work-groups along the outputs."""
        return -(-self.outputs // (self.lanes * self.height))


def tile_for(rows: int, most: int) -> int:
    """How many of so many rows of activations a work-item takes: as many as fit, or fewer, but more than half as many,
    where these leave no remainder, whose rows would be computed twice."""
    even = (tile for tile in range(most, most // 2, -1) if rows % tile == 0)
    return next(even, -(-rows // -(-rows // most)))


def splits_for(grid: Grid, rows: int, spans: int, limits: GpuLimits) -> int:
    """Into how many parts to split a reduction of so many equal pieces, of activations of so many rows."""
    if limits.serial:
        return 1
    splits = max(1, limits.group // grid.lanes)
    items = grid.tiles * grid.lanes * -(-rows // grid.tile)
    while items * splits < _BUSY and 2 * splits * grid.lanes <= limits.threads:
        splits *= 2
    share = -(-spans // splits)
    return -(-spans // share)


class RowKernel(ABC):
    """Emits one kernel; subclasses say what a work-item does.

    Attributes:
        first: output of the work-item.
    """

    def __init__(self, fused: Fused, data: Any, shape: tuple[int, ...], grid: Grid) -> None:
        """
        Args:
            data: the activations' buffer, of ``shape`` [*batch, rows, depth].
        """
        self.fused, self.data, self.lead, self.grid = fused, data, shape[:-1], grid
        self.rows = math.prod(self.lead)

    @abstractmethod
    def item(self, tile: Any, lane: Any, split: Any) -> tuple[list[Any], Any]:
        """Statements of a work-item, and the buffer [tile * height] that then holds its sums."""

    def kernel(self) -> Any:
        """The whole kernel."""
        g = self.grid
        sizes = [("blockIdx.x", g.tiles), ("blockIdx.y", -(-self.rows // g.tile))]
        return launch([*sizes, ("threadIdx.x", g.lanes), ("threadIdx.y", g.splits)], self._item)

    def _item(self, tile: Any, row_tile: Any, lane: Any, split: Any) -> Any:
        g = self.grid
        self.row = row_tile * g.tile
        self.first = (tile * g.lanes + lane) * g.height
        statements, sums = self.item(tile, lane, split)
        stores = self._store(sums) if g.splits == 1 else self._store_shared(sums, lane, split)
        return sequence([*statements, *stores])

    def shared_loop(self, count: int, split: Any, body: Callable[[Any], Any]) -> Any:
        """The work-item's part of ``for number in range(count): body(number)``."""
        share = -(-count // self.grid.splits)
        own: Any = i64(share)
        if count % self.grid.splits:
            own = tirx.min(own, count - split * share)
        return between(split * share, own, body, name="span")

    def place(self, row: int) -> list[Any]:
        """Where a row of the tile lies; the last one again beyond the last."""
        flat = self.row + row
        if self.rows % self.grid.tile:
            flat = tirx.min(flat, i64(self.rows - 1))
        return unflatten(flat, self.lead)

    # -- results

    def _store(self, sums: Any) -> list[Any]:
        g = self.grid
        return [
            self._store_one(row, self.first + r, tirx.BufferLoad(sums, [i64(row * g.height + r)]))
            for row in range(g.tile)
            for r in range(g.height)
        ]

    def _store_shared(self, sums: Any, lane: Any, split: Any) -> list[Any]:
        """Through local memory, where all work-items of the group take a part in adding up."""
        g = self.grid
        results = g.tile * g.height
        shared = tirx.decl_buffer(i64s(g.splits, results, g.lanes), str(sums.dtype), name="sums", scope="shared")
        statements = [tirx.AllocBuffer(shared)]
        for result in range(results):
            value = tirx.BufferLoad(sums, [i64(result)])
            statements.append(tirx.BufferStore(shared, value, [split, i64(result), lane]))

        def add_up(i: Any) -> Any:
            result = i * g.splits + split
            parts = [tirx.BufferLoad(shared, [i64(s), result, lane]) for s in range(g.splits)]
            row, r = tirx.floordiv(result, g.height), tirx.floormod(result, g.height)
            store = self._store_one(row, self.first + r, sum(parts[1:], parts[0]))
            return guarded([result < results] if results % g.splits else [], store)

        return [*statements, loop(-(-results // g.splits), add_up, name="result")]

    def _store_one(self, row: Any, output: Any, value: Any) -> Any:
        g, flat = self.grid, self.row + row
        conditions = [output < g.outputs] if g.outputs % (g.lanes * g.height) else []
        conditions += [flat < self.rows] if self.rows % g.tile else []
        return guarded(conditions, self.fused.store([*unflatten(flat, self.lead), output], value))
