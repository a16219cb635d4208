"""What the templates share: where a window meets the image, loop orders around tiles, how a tile is stored."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tvm import tirx

from tilewright.targets.schedules.cpu_fallback import PARALLEL_WORK
from tilewright.targets.schedules.cpu_fused import Fused
from tilewright.targets.schedules.cpu_ir import PARALLEL, SERIAL, VECTORIZED, RegisterTile, i64, loop, sequence
from tilewright.targets.schedules.cpu_tile import Core

_LONG_EPILOGUE = 32  # nodes of the epilogue's expression: more than bias, residual and clip


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


def store_tile(
    fused: Fused, tile: RegisterTile, channel: Any, channels: int, position: Callable[[Any], list[Any]]
) -> list[Any]:
    """Statements that finish a tile and store it; a long epilogue as a loop, or its code would dwarf the reduction's.

    Args:
        channel: the first output channel of the tile.
        channels: how many there are; the lanes beyond are padding.
        position: the output indices of a tile row, without the channel.
    """
    if fused.size <= _LONG_EPILOGUE:
        return _store_unrolled(fused, tile, channel, channels, position)
    stage = RegisterTile.make(tile.rows, tile.vectors, tile.lanes, "stage", str(tile.buffer.dtype))
    copies = [
        stage.combine(row, vector, lambda _, row=row, vector=vector: tile.load(row, vector))  # type: ignore[misc]
        for row in range(tile.rows)
        for vector in range(tile.vectors)
    ]
    full, rest = divmod(channels, tile.lanes)

    def one_row(row: Any) -> Any:
        def vector_at(first: Any, width: int) -> Any:
            def lane_at(lane: Any) -> Any:
                at = row * (tile.vectors * tile.lanes) + first + lane
                value = tirx.BufferLoad(stage.buffer, [at])
                return fused.store([*position(row), channel + first + lane], value)

            return loop(width, lane_at, VECTORIZED, "lane") if width > 1 else lane_at(i64(0))

        parts = [loop(full, lambda v: vector_at(v * tile.lanes, tile.lanes), name="vector")] if full else []
        return sequence([*parts, vector_at(i64(full * tile.lanes), rest)] if rest else parts)

    return [tirx.AllocBuffer(stage.buffer), *copies, loop(tile.rows, one_row, name="pixel")]


def _store_unrolled(
    fused: Fused, tile: RegisterTile, channel: Any, channels: int, position: Callable[[Any], list[Any]]
) -> list[Any]:
    """From registers straight to memory."""
    stores = []
    for row in range(tile.rows):
        for vector in range(tile.vectors):
            first = vector * tile.lanes
            width = min(tile.lanes, channels - first)
            if width <= 0:  # a panel's last outputs may fill fewer vectors than others
                break

            def one(lane: Any, row: int = row, vector: int = vector, first: int = first) -> Any:
                value = tirx.BufferLoad(tile.buffer, [i64(tile.offset(row, vector)) + lane])
                return fused.store([*position(i64(row)), channel + first + lane], value)

            stores.append(loop(width, one, VECTORIZED, "lane") if width > 1 else one(i64(0)))
    return stores


def parallel_if(multiplications: int, core: Core) -> Any:
    """The kind of a kernel's outer loop: parallel where that is worth starting the pool."""
    return PARALLEL if multiplications // core.lanes >= PARALLEL_WORK // 4 else SERIAL


def panel_nest(
    rows: int,
    columns: int,
    panel: int,
    weight_bytes: int,
    multiplications: int,
    core: Core,
    body: Callable[[Any, Any, int], Any],
    panels_outside: bool = False,
) -> list[Any]:
    """Loops over ``rows`` and panels of packed weights around ``body(row, panel, columns in the panel)``.

    Rows run outside while all weights stay in L2; else, or if asked, panels do, so that each weight is fetched once.
    """
    full, rest = divmod(columns, panel)
    kind = parallel_if(multiplications, core)
    if rows > 1 and (full <= 1 or (2 * weight_bytes <= core.l2_bytes and not panels_outside)):

        def one_row(row: Any) -> Any:
            parts = [loop(full, lambda p: body(row, p, panel), name="panel")] if full else []
            return sequence([*parts, body(row, i64(full), rest)] if rest else parts)

        return [loop(rows, one_row, kind, "row")]
    parts = []
    if full:
        parts.append(
            loop(
                full,
                lambda p: loop(rows, lambda row: body(row, p, panel), name="row"),
                kind if full > 1 else SERIAL,
                "panel",
            )
        )
    if rest:
        tail = kind if rows > 1 and not full else SERIAL
        parts.append(loop(rows, lambda row: body(row, i64(full), rest), tail, "row"))
    return parts
