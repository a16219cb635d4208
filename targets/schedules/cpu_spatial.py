"""What convolution and pooling share: where a window meets the image, and how a finished tile is stored."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tvm import tirx

from tilewright.targets.schedules.cpu_fused import Fused
from tilewright.targets.schedules.cpu_ir import VECTORIZED, RegisterTile, i64, loop


@dataclass(frozen=True)
class Window:
    """A sliding window over an NHWC image: element (i, j) of output (y, x) lies at
    (y * stride_h + i * dilation_h - pad_top, x * stride_w + j * dilation_w - pad_left)."""

    batch: int
    height: int
    width: int
    out_height: int
    out_width: int
    kernel_height: int
    kernel_width: int
    stride_h: int
    stride_w: int
    dilation_h: int
    dilation_w: int
    pad_top: int
    pad_left: int

    def row(self, y: Any, i: Any) -> Any:
        return y * self.stride_h + i * self.dilation_h - self.pad_top

    def column(self, x: Any, j: Any) -> Any:
        return x * self.stride_w + j * self.dilation_w - self.pad_left

    def inside(self, y: Any, x: Any, i: Any, j: Any) -> Any:
        """TIR condition: the element is in the image. True where no output ever leaves it."""
        row, column = self.row(y, i), self.column(x, j)
        conditions = []
        if not self._inner_rows():
            conditions += [row >= 0, row < self.height]
        if not self.is_inner(0, self.out_width):
            conditions += [column >= 0, column < self.width]
        return tirx.all(*conditions) if conditions else None

    def meets(self, x: int) -> list[bool]:
        """For every window column, whether output column ``x`` meets the image there."""
        return [0 <= self.column(x, j) < self.width for j in range(self.kernel_width)]

    def is_inner(self, start: int, size: int) -> bool:
        """Whether output columns ``start .. start + size`` meet no padding."""
        return all(all(self.meets(x)) for x in range(start, start + size))

    def column_groups(self, rows: int) -> list[tuple[int, int, int]]:
        """(first column, tile size, repetitions): runs of equal tiles that touch no border, all others alone."""
        groups: list[tuple[int, int, int]] = []
        for start in range(0, self.out_width, rows):
            size = min(rows, self.out_width - start)
            if groups and groups[-1][1] == size and self.is_inner(start, size) and self.is_inner(groups[-1][0], size):
                groups[-1] = (groups[-1][0], size, groups[-1][2] + 1)
            else:
                groups.append((start, size, 1))
        return groups

    def _inner_rows(self) -> bool:
        return self.pad_top == 0 and self.row(self.out_height - 1, self.kernel_height - 1) < self.height

    def rows_met(self, y: Any) -> tuple[Any, Any]:
        """Bounds of the window rows that meet the image for output row ``y``; the first may equal the second."""
        if self._inner_rows():
            return 0, self.kernel_height
        top = self.pad_top - y * self.stride_h
        low = tirx.min(tirx.max(tirx.floordiv(top + self.dilation_h - 1, self.dilation_h), 0), self.kernel_height)
        high = tirx.min(tirx.floordiv(top + self.height - 1, self.dilation_h) + 1, self.kernel_height)
        return low, tirx.max(high, low)


def store_tile(
    fused: Fused, tile: RegisterTile, channel: Any, channels: int, position: Callable[[int], list[Any]]
) -> list[Any]:
    """Statements that finish a tile and store it.

    Args:
        channel: the first output channel of the tile.
        channels: how many there are; the lanes beyond are padding.
        position: the output indices of a tile row, without the channel.
    """
    stores = []
    for row in range(tile.rows):
        for vector in range(tile.vectors):
            first = vector * tile.lanes
            width = min(tile.lanes, channels - first)

            def one(lane: Any, row: int = row, vector: int = vector, first: int = first) -> Any:
                value = tirx.BufferLoad(tile.buffer, [i64(tile.offset(row, vector)) + lane])
                return fused.store([*position(row), channel + first + lane], value)

            stores.append(loop(width, one, VECTORIZED, "lane") if width > 1 else one(i64(0)))
    return stores
