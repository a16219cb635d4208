"""Products and convolutions by compressed weights, dense or block-sparse, read packed: one template for all formats.

A tile of matrix rows or neighbouring pixels stays in registers while the blocks of one block row stream by. For each
block the kernel reads where its columns are, decodes its vectors (cpu_decoder.py), and multiplies them with the
activations there, one broadcast a row of the tile. Activations are float32, or bytes that meet integers in dot
products; then the result is int32, or float32 where groups have scales of their own. Whatever is one factor an output
comes after, in the epilogue.

A convolution reads an image that is padded already, so that a block's columns lie at a fixed offset from every pixel;
a table gives it for each block column.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tvm import te, tirx

from tilewright.targets.base import Device
from tilewright.targets.schedules.cpu_blocks import Blocks
from tilewright.targets.schedules.cpu_decoder import ROLES, Decoder, PackedBuffers, PackedOperands
from tilewright.targets.schedules.cpu_dot import Dot, fold, splat, spread
from tilewright.targets.schedules.cpu_spatial import panel_nest, store_tile
from tilewright.targets.schedules.cpu_tile import Core
from tilewright.targets.schedules.fused import Fused, mark, take_apart
from tilewright.targets.schedules.ir import (
    RegisterTile,
    broadcast,
    i64,
    i64s,
    loop,
    ramp,
    sequence,
    unflatten,
    vector_type,
)
from tilewright.targets.schedules.window import Window

_ACCUMULATORS = 8  # chains of multiply-adds that keep two units of four cycles latency busy
_SPAN = 8  # blocks that a loop iteration covers at most, where planes do not ask for more


@dataclass(frozen=True)
class Compressed:
    """One layer.

    Attributes:
        shape: of the activations: [*batch, rows, depth], or NHWC where there is a window; depth and channels padded to
            whole blocks, the image by the window's padding.
        window: of a convolution over that image, itself without padding.
        tile: rows or pixels that share registers.
        offset: subtracted from eight-bit activations (see ``Dot``).
    """

    blocks: Blocks
    shape: tuple[int, ...]
    window: Window | None = None
    tile: int = 1
    offset: int = 0

    @property
    def integer(self) -> bool:
        """Whether activations are bytes."""
        return self.blocks.word == 4

    @property
    def data_dtype(self) -> str:
        return "uint8" if self.integer else "float32"

    @property
    def out_dtype(self) -> str:
        return "int32" if self.integer and not self.blocks.group else "float32"

    @property
    def sums(self) -> int:
        """Vectors of sums of a row: of products, and where bytes meet asymmetric integers, of the bytes themselves."""
        return self.blocks.vectors + (self.integer and self.blocks.asymmetric)

    @property
    def out_shape(self) -> tuple[int, ...]:
        if self.window is None:
            return (*self.shape[:-1], self.blocks.outputs)
        return self.window.batch, self.window.out_height, self.window.out_width, self.blocks.outputs

    @property
    def is_flat(self) -> bool:
        """Whether rows of the output follow rows of the activations, all with one pitch."""
        w = self.window
        return w is None or (w.stride_h, w.stride_w, w.out_height, w.out_width) == (1, 1, w.height, w.width)

    @property
    def rows(self) -> int:
        """Matrix rows or pixels of the output."""
        return math.prod(self.out_shape[:-1])

    def tiled(self, core: Core) -> Compressed:
        """The same layer with its tile chosen."""
        b, length = self.blocks, self.rows if self.is_flat else self.out_shape[2]
        tables = min(-(-b.centroids // b.lanes), core.registers // 4)
        registers = core.registers - 2 - b.vectors - tables
        most = max(1, min(registers // (self.sums + b.vectors * bool(b.group)), length, 24))
        cost = {size: -(-length // size) * (b.vectors * b.steps + 1 + size * b.vectors) for size in range(1, most + 1)}
        return Compressed(b, self.shape, self.window, min(cost, key=lambda size: (cost[size], size)), self.offset)


def offsets(layer: Compressed) -> list[int]:
    """Where the columns of each block column are in the image, counted from a pixel's first byte or float."""
    assert layer.window is not None
    return layer.window.offsets(layer.shape[2], layer.shape[3], layer.blocks.bw)


def compressed(layer: Compressed) -> Any:
    """The PrimFunc of a layer: activations, [table of offsets], the packed arrays in the order of ROLES, output.

    table: int32 [block columns].
    """
    b, w = layer.blocks, layer.window
    data = te.placeholder(i64s(*layer.shape), layer.data_dtype, "data")
    packed = PackedOperands(b)
    index, scales = packed.index, packed.scales
    table = None if w is None else te.placeholder(i64s(len(offsets(layer))), "int32", "table")
    block = te.reduce_axis((i64(0), i64(b.k)), "block")
    inner = te.reduce_axis((i64(0), i64(b.bw)), "inner")

    def element(*at: Any) -> Any:
        *row, output = at
        block_row, inside = tirx.floordiv(output, b.bh), tirx.floormod(output, b.bh)
        column = block if index is None else index[block_row, block].astype("int64")
        if w is None or table is None:
            x = data(*row, column * b.bw + inner)
        else:
            x = w.element(data, row, table[column].astype("int64") + inner)
        weight = packed.weight(block_row, block, inside, inner)
        if layer.integer:
            product = (x.astype("int32") - layer.offset) * weight
            product = product.astype("float32") if b.group else product
        else:
            product = x * weight.astype("float32")
        if scales is not None:
            product = product * scales[block_row, tirx.floordiv(block, b.group), inside].astype("float32")
        return te.sum(product, axis=[block, inner])

    marks = mark("compressed", **asdict(layer))
    result = te.compute(i64s(*layer.out_shape), element, name="compressed", attrs=marks)
    operands = [data, *([] if table is None else [table]), *packed.of(*ROLES), result]
    return te.create_prim_func(operands).with_attr("op_pattern", 4)


def compressed_rule(func: Any, device: Device) -> Any:
    """Schedules a fused ``compressed`` of this file."""
    fused = take_apart(func, "compressed")
    if fused is None:
        return None
    p = fused.parameters
    window = Window(**p["window"]) if p["window"] else None
    layer = Compressed(Blocks(**p["blocks"]), tuple(p["shape"]), window, p["tile"], p["offset"])
    return fused.finish(_Emitter.make(fused, layer, device).body())


@dataclass(frozen=True)
class _Emitter:
    fused: Fused
    layer: Compressed
    device: Device
    data: Any
    table: Any
    packed: PackedBuffers

    @classmethod
    def make(cls, fused: Fused, layer: Compressed, device: Device) -> _Emitter:
        """Operands come in the order in which the expression reads them."""
        left = list(fused.operands)
        data = left.pop(0)
        table = left.pop(0) if layer.window is not None else None
        packed = PackedBuffers.take(layer.blocks, left)
        assert not left, "operands are read in another order"
        return cls(fused, layer, device, data, table, packed)

    @property
    def dot(self) -> Dot:
        return Dot.of(self.device)

    # -- loops

    def body(self) -> Any:
        layer = self.layer
        parts: list[Any] = []
        if layer.is_flat:
            pitch = layer.shape[-1]
            full, rest = divmod(layer.rows, layer.tile)
            if full:
                parts += self._nest(full, lambda t, r, n: self._flat(t * layer.tile, layer.tile, pitch, r, n))
            if rest:
                parts += self._nest(1, lambda t, r, n: self._flat(i64(full * layer.tile), rest, pitch, r, n))
            return sequence(parts)
        w = layer.window
        assert w is not None
        full, rest = divmod(w.out_width, layer.tile)

        def image_row(at: Any, block_row: Any, outputs: int) -> Any:
            def tile(t: Any, size: int) -> Any:
                return self._pixels(
                    tirx.floordiv(at, w.out_height), tirx.floormod(at, w.out_height), t, size, block_row, outputs
                )

            columns = [loop(full, lambda t: tile(t * layer.tile, layer.tile), name="column")] if full else []
            return sequence([*columns, tile(i64(full * layer.tile), rest)] if rest else columns)

        return sequence(self._nest(w.batch * w.out_height, image_row))

    def _nest(self, rows: int, body: Callable[[Any, Any, int], Any]) -> list[Any]:
        b = self.layer.blocks
        nbytes = math.prod(b.values_shape) * (1 if b.planes else b.bits // 8)
        work = self.layer.rows * b.block_rows * b.k * b.elements // b.word
        return panel_nest(rows, b.outputs, b.bh, nbytes, work, Core.of(self.device), body)

    def _flat(self, first: Any, size: int, pitch: int, block_row: Any, outputs: int) -> Any:
        shape = self.layer.out_shape[:-1]
        return self._tile(first * pitch, pitch, size, block_row, outputs, lambda row: unflatten(first + row, shape))

    def _pixels(self, image: Any, y: Any, x: Any, size: int, block_row: Any, outputs: int) -> Any:
        w, (_, height, width, channels) = self.layer.window, self.layer.shape
        assert w is not None
        base = ((image * height + y * w.stride_h) * width + x * w.stride_w) * channels
        return self._tile(base, w.stride_w * channels, size, block_row, outputs, lambda row: [image, y, x + row])

    # -- one tile

    def _tile(
        self, base: Any, pitch: int, size: int, block_row: Any, outputs: int, position: Callable[[Any], list[Any]]
    ) -> Any:
        """Rows at ``base``, ``base + pitch``, ... of the activations by one block row."""
        b = self.layer.blocks
        sets = max(1, min(_ACCUMULATORS // (size * b.vectors), b.k, 4))
        decoder = Decoder(b, self.packed, self.device, block_row)

        def reduce(group: Any, first: Any, count: int, finish: Callable[[_Blocks], list[Any]]) -> list[Any]:
            """Sums ``count`` blocks from block ``first`` on."""
            acc = self._accumulators(size * sets, self.layer.sums, "int32" if self.layer.integer else "float32", "acc")
            blocks = _Blocks(self, decoder, acc, sets, size, base, pitch)
            run = [*acc.fill(0), *decoder.open_group(group), *blocks.run(first, count)]
            return [*run, *finish(blocks)]

        result = self._accumulators(size, b.vectors, self.layer.out_dtype, "result")
        statements = [*result.fill(0), *decoder.open()]
        if not b.group:
            statements += reduce(i64(0), i64(0), b.k, lambda blocks: blocks.add_to(result, i64(0)))
        else:
            full, rest = divmod(b.k, b.group)
            groups = [(full, b.group, i64(0))] * bool(full) + [(1, rest, i64(full))] * bool(rest)
            for count, length, first in groups:

                def one(g: Any, length: int = length, first: Any = first) -> Any:
                    group = g + first
                    return sequence(reduce(group, group * b.group, length, lambda blocks: blocks.add_to(result, group)))

                statements.append(loop(count, one, name="group"))
        out = RegisterTile.make(size, b.vectors, b.height, name="out", dtype=self.layer.out_dtype)
        statements.append(tirx.AllocBuffer(out.buffer))
        for row in range(size):
            for v in range(b.vectors):
                value = fold(result.load(row, v), b.height, b.width)
                statements.append(out.combine(row, v, lambda _, value=value: value))  # type: ignore[misc]
        return sequence([*statements, *store_tile(self.fused, out, block_row * b.bh, outputs, position)])

    def _accumulators(self, rows: int, vectors: int, dtype: str, name: str) -> RegisterTile:
        return RegisterTile.make(rows, vectors, self.layer.blocks.vector_lanes, name=name, dtype=dtype)


@dataclass(frozen=True)
class _Blocks:
    """The reduction over blocks of one tile; successive blocks go to successive sets of accumulators."""

    emitter: _Emitter
    decoder: Decoder
    acc: RegisterTile
    sets: int
    size: int
    base: Any
    pitch: int

    def run(self, first: Any, count: int) -> list[Any]:
        """Statements for ``count`` blocks from block ``first`` on, where a unit begins."""
        b = self.emitter.layer.blocks
        work = self.size * b.vectors * b.steps
        span = b.unit * max(1, min(_SPAN, max(self.sets, 2, 32 // work)) // b.unit)
        full, rest = divmod(count, span)
        statements = []
        if full:
            statements.append(loop(full, lambda t: self._span(first + t * span, span), name="blocks"))
        if rest:
            statements.append(self._span(first + full * span, rest))
        return statements

    def add_to(self, result: RegisterTile, group: Any) -> list[Any]:
        """Adds what the blocks came to, less zero points, times the scales of their group."""
        b = self.emitter.layer.blocks
        totals = [[self._total(row, v) for v in range(self.acc.vectors)] for row in range(self.size)]
        statements = []
        for v in range(b.vectors):
            scale = tirx.Var("scale", result.vector_type)
            if b.group:
                statements.append(tirx.Bind(scale, self.decoder.scale(group, v)))
            zero = tirx.Var("zero", self.acc.vector_type)
            if self.acc.vectors > b.vectors:
                statements.append(tirx.Bind(zero, self.decoder.zero(group, v)))
            for row in range(self.size):
                total = totals[row][v]
                if self.acc.vectors > b.vectors:
                    total = total - zero * totals[row][b.vectors]
                if b.group:
                    total = total.astype(result.vector_type) * scale
                statements.append(result.combine(row, v, lambda old, total=total: old + total))  # type: ignore[misc]
        return statements

    def _total(self, row: int, vector: int) -> Any:
        """Over all sets."""
        total = self.acc.load(row, vector)
        for other in range(1, self.sets):
            total = total + self.acc.load(other * self.size + row, vector)
        return total

    def _span(self, first: Any, count: int) -> Any:
        return sequence([statement for offset in range(count) for statement in self._block(first, offset)])

    def _block(self, first: Any, offset: int) -> list[Any]:
        e, b = self.emitter, self.emitter.layer.blocks
        column = first + offset
        if e.packed.index is not None:
            column = tirx.BufferLoad(e.packed.index, [self.decoder.block_row, column]).astype("int64")
        place = column * b.bw if e.table is None else tirx.BufferLoad(e.table, [column]).astype("int64")
        start = tirx.Var("start", "int64")
        statements: list[Any] = [tirx.Bind(start, self.base + place)]
        unit, inside = tirx.floordiv(first, b.unit) + offset // b.unit, offset % b.unit
        for step in range(b.steps):
            weights, places, decoding = self.decoder.step(unit, inside, step)
            statements += decoding
            for row in range(self.size):
                at = start + (row * self.pitch + (0 if b.kept else step * b.width * b.word))
                x = tirx.Var("x", vector_type("int32" if e.layer.integer else "float32", b.vector_lanes))
                statements.append(tirx.Bind(x, self._activations(at)))
                met = [self.decoder.chosen(x, place) for place in places] or [x] * b.vectors
                statements += self._products(offset % self.sets * self.size + row, met, weights)
        return statements

    def _products(self, row: int, activations: Sequence[Any], weights: Sequence[Any]) -> list[Any]:
        """Adds activations times weights, vector by vector, to a row of the accumulators, and after these the sum of
        the activations, if it is wanted."""
        e, lanes = self.emitter, self.emitter.layer.blocks.vector_lanes
        every = [*weights, splat("int8", 1, 4 * lanes)][: self.acc.vectors]
        statements = []
        for vector, (x, weight) in enumerate(zip([*activations, activations[0]], every, strict=False)):

            def add(old: Any, x: Any = x, weight: Any = weight) -> Any:
                return e.dot.accumulate(old, x, weight, lanes) if e.layer.integer else old + x * weight

            statements.append(self.acc.combine(row, vector, add))
        return statements

    def _activations(self, start: Any) -> Any:
        """The words of a row that a vector of weights meets: each row of the block meets the same."""
        e, b = self.emitter, self.emitter.layer.blocks
        at = [i64(0)] * (len(e.layer.shape) - 1)
        words = b.width if e.layer.integer or not b.kept else b.bw
        if e.layer.integer:
            loaded = tirx.reinterpret(
                vector_type("int32", words), tirx.BufferLoad(e.data, [*at, ramp(start, 4 * words)])
            )
        else:
            loaded = tirx.BufferLoad(e.data, [*at, ramp(start, words)])
        height = b.vector_lanes // words
        return broadcast(loaded, height) if words == 1 else spread(loaded, words, height)
