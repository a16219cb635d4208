"""What the templates share: where a window meets the image, loop orders around tiles, how a tile is stored."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from tvm import tirx

from tilewright.targets.schedules.cpu_fallback import PARALLEL_WORK
from tilewright.targets.schedules.cpu_tile import Core
from tilewright.targets.schedules.fused import Fused
from tilewright.targets.schedules.ir import PARALLEL, SERIAL, VECTORIZED, RegisterTile, i64, loop, prefetch, sequence

_PAGE, _LINE = 4096, 64  # bytes
_LONG_EPILOGUE = 32  # nodes of the epilogue's expression: more than bias, residual and clip


def store_tile(
    fused: Fused,
    tile: RegisterTile,
    channel: Any,
    channels: int,
    position: Callable[[Any], list[Any]],
    inside: Callable[[Any], Any] | None = None,
) -> list[Any]:
    """Statements that finish a tile and store it; a long epilogue as a loop, or its code would dwarf the reduction's.

    Args:
        channel: the first output channel of the tile.
        channels: how many there are; the lanes beyond are padding.
        position: the output indices of a tile row, without the channel.
        inside: whether a tile row is stored; all are, if it is not given.
    """

    def guarded(row: Any, store: Any) -> Any:
        return store if inside is None else tirx.IfThenElse(inside(row), store, None)

    if fused.size <= _LONG_EPILOGUE:
        return [guarded(i64(row), store) for row, store in _unrolled(fused, tile, channel, channels, position)]
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
        return guarded(row, sequence([*parts, vector_at(i64(full * tile.lanes), rest)] if rest else parts))

    return [tirx.AllocBuffer(stage.buffer), *copies, loop(tile.rows, one_row, name="pixel")]


def _unrolled(
    fused: Fused, tile: RegisterTile, channel: Any, channels: int, position: Callable[[Any], list[Any]]
) -> list[tuple[int, Any]]:
    """From registers straight to memory: for each tile row its stores."""
    found = []
    for row in range(tile.rows):
        stores: list[Any] = []
        for vector in range(tile.vectors):
            first = vector * tile.lanes
            width = min(tile.lanes, channels - first)
            if width <= 0:  # a panel's last outputs may fill fewer vectors than others
                break

            def one(lane: Any, row: int = row, vector: int = vector, first: int = first) -> Any:
                value = tirx.BufferLoad(tile.buffer, [i64(tile.offset(row, vector)) + lane])
                return fused.store([*position(i64(row)), channel + first + lane], value)

            stores.append(loop(width, one, VECTORIZED, "lane") if width > 1 else one(i64(0)))
        found.append((row, sequence(stores)))
    return found


def fetch_ahead(weights: Any, indices: Sequence[Any], count: int) -> list[Any]:
    """Statements that prefetch as many of the weights as a step reads, a page ahead of it.

    Hardware prefetches within a page of 4 KiB and starts anew in the next, which streams of weights feel: a convolution
    whose weights came from the last cache took a tenth to a fifth longer without.

    Args:
        indices: of the first weight of the step, in a buffer whose weights lie in the order in which they are read.
        count: weights a step.
    """
    *outer, first = indices
    size = np.dtype(str(weights.dtype)).itemsize
    return [
        tirx.Evaluate(prefetch(weights, [*outer, first + (_PAGE + line) // size]))
        for line in range(0, count * size, _LINE)
    ]


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
) -> list[Any]:
    """Loops over ``rows`` and panels of packed weights around ``body(row, panel, columns in the panel)``.

    Rows run outside while all weights stay in L2; else panels do, so that each weight is fetched once.
    """
    full, rest = divmod(columns, panel)
    kind = parallel_if(multiplications, core)
    if rows > 1 and (full <= 1 or not core.streams(weight_bytes)):

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
