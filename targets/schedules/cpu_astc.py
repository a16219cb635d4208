"""Products and convolutions by ASTC blocks, decoded in the kernel: one template for all footprints.

A vector of weights is one place in as many blocks below each other (cpu_astc_blocks.py). Few rows of activations meet
it where it was decoded, in registers. Of many rows or pixels, a strip at a time shares what was decoded: some columns
of a panel of outputs are decoded into a stage that fits the first-level cache, and a register tile multiplies from it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

from tvm import te, tirx

from tilewright.targets.base import Device
from tilewright.targets.schedules.cpu_astc_blocks import AstcBlocks
from tilewright.targets.schedules.cpu_astc_decoder import AstcDecoder
from tilewright.targets.schedules.cpu_spatial import panel_nest, store_tile
from tilewright.targets.schedules.cpu_tile import Core
from tilewright.targets.schedules.fused import Fused, mark, take_apart
from tilewright.targets.schedules.ir import (
    RegisterTile,
    Statements,
    broadcast,
    i64,
    i64s,
    loop,
    ramp,
    sequence,
    unflatten,
)
from tilewright.targets.schedules.window import Window

_STRIP = 128  # rows or pixels that share a stage: decoding one weight takes about as long as three of them
_BESIDE = 4  # registers for a table, words and activations


@dataclass(frozen=True)
class AstcLayer:
    """One layer.

    Attributes:
        shape: of the activations: [*batch, rows, depth], or NHWC where there is a window, padded by that.
        window: of a convolution over that image, itself without padding.
        tile: rows or pixels that share registers.
        strip: rows or pixels that share a stage; 0 where there is none.
        stage: block columns in it.
    """

    blocks: AstcBlocks
    shape: tuple[int, ...]
    window: Window | None = None
    tile: int = 1
    strip: int = 0
    stage: int = 1

    @property
    def out_shape(self) -> tuple[int, ...]:
        w = self.window
        lead = self.shape[:-1] if w is None else (w.batch, w.out_height, w.out_width)
        return (*lead, self.blocks.outputs)

    @property
    def rows(self) -> int:
        """Matrix rows or pixels of the output."""
        return math.prod(self.out_shape[:-1])

    def tiled(self, core: Core) -> AstcLayer:
        """The same layer with its tile and stage chosen."""
        b, rows = self.blocks, self.rows
        most = max(1, (core.registers - _BESIDE) // b.height)
        if rows <= most:
            return replace(self, tile=rows, strip=0)
        strip = -(-rows // -(-rows // _STRIP))
        column_bytes = 4 * b.panel * b.width
        stage = max(1, min(b.across, core.l1_bytes // 2 // column_bytes))
        return replace(self, tile=-(-strip // -(-strip // most)), strip=strip, stage=stage)


def astc(layer: AstcLayer, device: Device) -> Any:
    """The PrimFunc of a layer: activations, [place of each column, int32], packed blocks, table, output. It is not
    multiplied by the scales of outputs yet."""
    b, w = layer.blocks, layer.window
    data = te.placeholder(i64s(*layer.shape), "float32", "data")
    places = None if w is None else te.placeholder(i64s(b.depth), "int32", "places")
    values = te.placeholder(i64s(b.size), "int32", "blocks")
    table = te.placeholder(i64s(len(b.table(device))), "float32", "table")
    column = te.reduce_axis((i64(0), i64(b.depth)), "column")

    def element(*at: Any) -> Any:
        *row, output = at
        place = None if places is None else places[column].astype("int64")
        x = data(*row, column) if w is None else w.element(data, row, place)
        return te.sum(x * b.weight(lambda place: values[place], table, output, column), axis=column)

    result = te.compute(i64s(*layer.out_shape), element, name="astc", attrs=mark("astc", **asdict(layer)))
    operands = [data, *([] if places is None else [places]), values, table, result]
    return te.create_prim_func(operands).with_attr("op_pattern", 4)


def astc_rule(func: Any, device: Device) -> Any:
    """Schedules a fused ``astc`` of this file."""
    fused = take_apart(func, "astc")
    if fused is None:
        return None
    p = dict(fused.parameters)
    window = Window(**p.pop("window")) if p["window"] else p.pop("window")
    layer = AstcLayer(AstcBlocks(**p.pop("blocks")), tuple(p.pop("shape")), window, **p)
    data, *rest = fused.operands
    places = rest.pop(0) if window is not None else None
    values, table = rest
    return fused.finish(_Emitter(fused, layer, device, data, places, values, table).body())


@dataclass(frozen=True)
class _Emitter:
    fused: Fused
    layer: AstcLayer
    device: Device
    data: Any
    places: Any
    values: Any
    table: Any

    # -- loops

    def body(self) -> Any:
        layer = self.layer
        size, tiled = (layer.strip, self._strip) if layer.strip else (layer.tile, self._direct)
        full, rest = divmod(layer.rows, size)
        parts = self._nest(full, lambda t, p, n: tiled(t * size, size, p, n)) if full else []
        if rest:
            parts += self._nest(1, lambda _, p, n: tiled(i64(full * size), rest, p, n))
        return sequence(parts)

    def _nest(self, rows: int, body: Callable[[Any, Any, int], Any]) -> list[Any]:
        b = self.layer.blocks
        work = self.layer.rows * b.outputs * b.depth
        return panel_nest(rows, b.outputs, b.panel, 4 * b.size, work, Core.of(self.device), body)

    # -- activations

    def _start(self, row: Any) -> Any:
        """Where in the activations a row or pixel of the output begins."""
        w = self.layer.window
        if w is None:
            return row * self.layer.shape[-1]
        _, height, width, channels = self.layer.shape
        image, y, x = unflatten(row, self.layer.out_shape[:-1])
        return ((image * height + y * w.stride_h) * width + x * w.stride_w) * channels

    def _starts(self, first: Any, size: int) -> tuple[list[Any], list[Any]]:
        """Variables of where the rows of a tile begin, and statements."""
        made = Statements()
        return [made.bind("start", self._start(first + row)) for row in range(size)], made.made

    def _met(self, starts: list[Any], column: Any) -> tuple[list[Any], list[Any]]:
        """Variables of the activations of a column, one a row, in every lane; and statements."""
        made, leading = Statements(), [i64(0)] * (len(self.layer.shape) - 1)
        if self.places is not None:
            column = made.bind("place", tirx.BufferLoad(self.places, [column]).astype("int64"))
        loads = [tirx.BufferLoad(self.data, [*leading, start + column]) for start in starts]
        return [made.bind("x", broadcast(load, self.layer.blocks.lanes)) for load in loads], made.made

    def _decoder(self, panel: Any, outputs: int) -> AstcDecoder:
        b = self.layer.blocks
        return AstcDecoder(b, self.device, self.values, self.table, panel * b.panel_words, b.stride(outputs))

    @staticmethod
    def _add(acc: RegisterTile, output: int, xs: list[Any], weight: Any) -> list[Any]:
        """Adds the products of activations, one a row, by a vector of weights."""
        return [acc.combine(row, output, lambda old, x=x: old + x * weight) for row, x in enumerate(xs)]  # type: ignore[misc]

    # -- few rows

    def _direct(self, first: Any, size: int, panel: Any, outputs: int) -> Any:
        """Rows by a panel."""
        b, decoder = self.layer.blocks, self._decoder(panel, outputs)
        acc = RegisterTile.make(size, b.height, b.lanes)
        starts, statements = self._starts(first, size)

        def block(number: Any, columns: int) -> Any:
            made = decoder.open_block(number)
            for column in range(columns):
                xs, before = self._met(starts, number * b.width + column)
                made += before
                for output in range(b.height):
                    weight, before = decoder.weight(output, column)
                    made += [*before, *self._add(acc, output, xs, weight)]
            return sequence(made)

        statements += [*acc.fill(0), *decoder.open()]
        statements += self._blocks(i64(0), b.depth, block)
        return sequence([*statements, *self._finish(first, size, panel, outputs, acc.load)])

    def _blocks(self, first: Any, columns: int, block: Callable[[Any, int], Any]) -> list[Any]:
        """Loops over the blocks that ``columns`` columns take; the last may have fewer columns."""
        full, rest = divmod(columns, self.layer.blocks.width)
        parts = [loop(full, lambda n: block(first + n, self.layer.blocks.width), name="block")] if full else []
        return [*parts, block(first + full, rest)] if rest else parts

    def _finish(self, first: Any, size: int, panel: Any, outputs: int, total: Callable[[int, int], Any]) -> list[Any]:
        """Stores a tile, whose vectors are every ``height``-th output."""
        b, shape = self.layer.blocks, self.layer.out_shape[:-1]
        out = RegisterTile.make(size, b.height, b.lanes, "out")
        statements: list[Any] = [tirx.AllocBuffer(out.buffer)]
        for row in range(size):
            for output in range(b.height):
                at = tirx.Ramp(i64(row * b.panel + output), i64(b.height), b.lanes)
                statements.append(tirx.BufferStore(out.buffer, total(row, output), [at]))

        def position(row: Any) -> list[Any]:
            return unflatten(first + row, shape)

        return [*statements, *store_tile(self.fused, out, panel * b.panel, outputs, position)]

    # -- many rows

    def _strip(self, first: Any, size: int, panel: Any, outputs: int) -> Any:
        """Rows by a panel, some columns of which are decoded at a time."""
        layer, b = self.layer, self.layer.blocks
        stage = tirx.decl_buffer(i64s(layer.stage * b.width * b.panel), "float32", name="stage", scope="global")
        sums = tirx.decl_buffer(i64s(size * b.panel), "float32", name="sums", scope="global")
        zero = broadcast(tirx.const(0, "float32"), b.lanes)
        clear = loop(size * b.height, lambda n: tirx.BufferStore(sums, zero, [ramp(n * b.lanes, b.lanes)]))
        decoder = self._decoder(panel, outputs)
        opened = decoder.open()

        def some(number: Any, columns: int) -> Any:
            """Columns from a block on."""

            def block(at: Any, inside: int) -> Any:
                made = decoder.open_block(at)
                for column in range(inside):
                    for output in range(b.height):
                        weight, before = decoder.weight(output, column)
                        place = (((at - number) * b.width + column) * b.height + output) * b.lanes
                        made += [*before, tirx.BufferStore(stage, weight, [ramp(place, b.lanes)])]
                return sequence(made)

            def tile(row: Any, rows: int) -> Any:
                return self._multiply(stage, sums, first, row, rows, number * b.width, columns)

            return sequence([*self._blocks(number, columns, block), *self._tiles(size, tile)])

        full, rest = divmod(b.depth, layer.stage * b.width)
        chunks = [loop(full, lambda n: some(n * layer.stage, layer.stage * b.width), name="stage")] if full else []
        if rest:
            chunks.append(some(i64(full * layer.stage), rest))

        def store(row: Any, rows: int) -> Any:
            def total(inner: int, output: int) -> Any:
                return _vector(sums, row + inner, output, b)

            return sequence(self._finish(first + row, rows, panel, outputs, total))

        memory = [tirx.AllocBuffer(stage), tirx.AllocBuffer(sums)]
        return sequence([*memory, clear, *opened, *chunks, *self._tiles(size, store)])

    def _tiles(self, size: int, tile: Callable[[Any, int], Any]) -> list[Any]:
        """Loops over the tiles of a strip."""
        full, rest = divmod(size, self.layer.tile)
        parts = [loop(full, lambda t: tile(t * self.layer.tile, self.layer.tile), name="tile")] if full else []
        return [*parts, tile(i64(full * self.layer.tile), rest)] if rest else parts

    def _multiply(self, stage: Any, sums: Any, first: Any, row: Any, rows: int, start: Any, columns: int) -> Any:
        """Adds the products of a tile of rows by staged columns to its sums."""
        b = self.layer.blocks
        acc = RegisterTile.make(rows, b.height, b.lanes)
        places = [(inner, output) for inner in range(rows) for output in range(b.height)]
        starts, statements = self._starts(first + row, rows)
        statements.append(tirx.AllocBuffer(acc.buffer))
        for inner, output in places:
            known = _vector(sums, row + inner, output, b)
            statements.append(acc.combine(inner, output, lambda _, known=known: known))  # type: ignore[misc]

        def column(number: Any) -> Any:
            xs, made = self._met(starts, start + number)
            for output in range(b.height):
                weights = Statements()
                weight = weights.bind("w", _vector(stage, number, output, b))
                made += [*weights.made, *self._add(acc, output, xs, weight)]
            return sequence(made)

        statements.append(loop(columns, column, name="column"))
        for inner, output in places:
            at = ramp(((row + inner) * b.height + output) * b.lanes, b.lanes)
            statements.append(tirx.BufferStore(sums, acc.load(inner, output), [at]))
        return sequence(statements)


def _vector(buffer: Any, row: Any, output: int, blocks: AstcBlocks) -> Any:
    """Of a buffer [row][output of a block][block row]."""
    return tirx.BufferLoad(buffer, [ramp((row * blocks.height + output) * blocks.lanes, blocks.lanes)])
