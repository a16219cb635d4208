"""A window that slides over an image: where it meets the image, and what of it lies outside."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tvm import tirx


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

    def offsets(self, columns: int, channels: int, step: int = 1) -> list[int]:
        """Where every ``step``-th channel of every tap is in a padded image, counted from a pixel's first channel.

        Args:
            columns, channels: of the image.
        """
        return [
            ((i * self.dilation_h) * columns + j * self.dilation_w) * channels + c
            for i in range(self.kernel_height)
            for j in range(self.kernel_width)
            for c in range(0, channels, step)
        ]

    def element(self, data: Any, row: Sequence[Any], place: Any) -> Any:
        """The element of a padded image that an output pixel (batch, y, x) meets at one of ``offsets``."""
        columns, channels = (int(size) for size in data.shape[2:])
        y, z = tirx.floordiv(place, columns * channels), tirx.floordiv(place, channels)
        z, channel = tirx.floormod(z, columns), tirx.floormod(place, channels)
        return data(row[0], row[1] * self.stride_h + y, row[2] * self.stride_w + z, channel)

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
