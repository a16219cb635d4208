"""Products by compressed weights, dense or block-sparse, read packed: one template for all formats.

A work-item computes a few neighbouring outputs of a few rows of the activations. Work-items side by side have
neighbouring outputs, so that together they load whole lines of packed weights; those one behind the other share a
reduction and add up through local memory, because batch 1 has too few outputs to keep a GPU busy. For each chunk of
columns (see gpu_words.py) a work-item reads where the columns are, decodes its weights and multiplies them with the
activations there. Scales of groups multiply what a group came to; whatever is one factor an output comes after, in the
epilogue.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import Any

from tvm import te, tirx

from tilewright.targets.schedules.cpu_fused import Fused, mark, take_apart
from tilewright.targets.schedules.cpu_ir import RegisterTile, broadcast, i64, i64s, loop, sequence, unflatten
from tilewright.targets.schedules.gpu_common import GpuLimits, require
from tilewright.targets.schedules.gpu_ir import between, bound, guarded, launch, ramp
from tilewright.targets.schedules.gpu_words import STEP, Words, vector

TEMPLATE = "gpu_compressed"
_BUSY = 4096  # work-items that keep a small GPU busy
_ACCUMULATORS = 16  # registers that chains may take at most ...
_WORDS = 36  # ... and together with the words of a chunk
_ROWS = 8  # of activations that a work-item takes at most
_FOUR = 4


@dataclass(frozen=True)
class Product:
    """One layer.

    Attributes:
        shape: of the activations, [*batch, rows, depth]; depth padded to what the weights read.
        tile: rows of a work-item.
        splits: work-items that share a reduction.
    """

    words: Words
    shape: tuple[int, ...]
    dtype: str = "float32"
    tile: int = 1
    splits: int = 1

    @property
    def rows(self) -> int:
        return math.prod(self.shape[:-1])

    @property
    def out_shape(self) -> tuple[int, ...]:
        return (*self.shape[:-1], self.words.outputs)

    @property
    def chains(self) -> int:
        """Sums of a row that are independent of each other, to hide the latency of additions."""
        spare = min(_ACCUMULATORS, _WORDS - self.words.words * self.words.rows)
        return max(1, min(_FOUR, spare // (self.tile * self.words.rows)))

    @property
    def registers(self) -> int:
        """Roughly what a work-item needs, of 32 bits: sums, the words of a chunk, activations, and the rest."""
        w = self.words
        sums = self.tile * w.rows * (self.chains + bool(w.group))
        return sums + w.words * w.rows + _FOUR * self.tile + 4 * w.rows

    @property
    def unrolled(self) -> int:
        """Chunks that come without a loop around them: as many as 32 columns have, of whole groups."""
        w = self.words
        length = w.group // w.chunk if w.group else w.chunks
        fitting = (u for u in (4, 2) if w.chunk * u <= STEP and w.chunks % u == 0 and length % u == 0)
        return next(fitting, 1)

    @property
    def spans(self) -> tuple[int, int]:
        """How many pieces the reduction has, and chunks of one: whole groups where there are groups."""
        w = self.words
        length = w.group // w.chunk if w.group else self.unrolled
        return -(-w.chunks // length), length

    def tiled(self, limits: GpuLimits) -> Product:
        """The same layer with its tile and splits chosen."""
        w = self.words
        most = max(1, min(_ROWS, limits.accumulators // w.rows // (2 if w.group else 1)))
        while most > 1 and replace(self, tile=most).registers > limits.registers:
            most -= 1
        tile = -(-self.rows // -(-self.rows // most))
        splits = max(1, limits.group // w.lanes)
        items = w.tiles * w.lanes * -(-self.rows // tile)
        while items * splits < _BUSY and 2 * splits * w.lanes <= limits.threads:
            splits *= 2
        share = -(-self.spans[0] // splits)
        return replace(self, tile=tile, splits=-(-self.spans[0] // share))


def padded_depth(words: Words, depth: int) -> int:
    """Columns that activations of so many need: whole blocks, or for dense weights what these were padded to."""
    return -(-depth // words.bw) * words.bw if words.bw else words.columns


def compressed(layer: Product) -> Any:
    """The PrimFunc (activations, [index], [codebook], values, [zero points], [scales], float32 output) of a layer."""
    w = layer.words
    data = te.placeholder(i64s(*layer.shape), layer.dtype, "data")
    column = te.reduce_axis((i64(0), i64(w.columns)), "column")
    weights = PackedOperands(w)

    def element(*at: Any) -> Any:
        *row, output = at
        x = data(*row, weights.place(output, column)).astype("float32")
        return te.sum(weights.multiplied(x, output, column), axis=column)

    marks = mark(TEMPLATE, **asdict(layer))
    result = te.compute(i64s(*layer.out_shape), element, name="compressed", attrs=marks)
    return te.create_prim_func([data, *weights.operands, result]).with_attr("op_pattern", 4)


class PackedOperands:
    """The packed arrays of a weight as placeholders, and what one element is, in the order that kernels rely on."""

    def __init__(self, words: Words) -> None:
        w = self.words = words
        self.index = te.placeholder(i64s(*w.index_shape), "uint16", "index") if w.bw else None
        self.table = te.placeholder(i64s(w.table), "float32", "codebook") if w.table else None
        self.values = te.placeholder(i64s(*w.values_shape), w.values_dtype, "values")
        self.zeros = te.placeholder(i64s(*w.scales_shape), "uint8", "zero_points") if w.zeros else None
        self.scales = te.placeholder(i64s(*w.scales_shape), w.scale_dtype, "scales") if w.group else None
        parts = (self.index, self.table, self.values, self.zeros, self.scales)
        self.operands = [part for part in parts if part is not None]

    def place(self, output: Any, column: Any) -> Any:
        """The column of the matrix that a column of the payload is."""
        if self.index is None:
            return column
        w = self.words
        block = self.index[tirx.floordiv(column, w.bw), tirx.floordiv(output, w.bh)].astype("int64")
        return block * w.bw + tirx.floormod(column, w.bw)

    def multiplied(self, x: Any, output: Any, column: Any) -> Any:
        """A float times a weight."""
        w = self.words
        weight = w.decode_one(lambda *i: self.values(*i), output, column)
        group = tirx.floordiv(column, w.group) if w.group else i64(0)
        if self.table is not None:
            weight = self.table[weight]
        if self.zeros is not None:
            weight = weight - self.zeros[group, output].astype("int32")
        product = x * weight.astype("float32")
        return product if self.scales is None else product * self.scales[group, output].astype("float32")


@dataclass(frozen=True)
class PackedBuffers:
    """The same arrays as buffers of a fused function."""

    index: Any
    table: Any
    values: Any
    zeros: Any
    scales: Any

    @classmethod
    def take(cls, words: Words, left: list[Any]) -> PackedBuffers:
        """Takes them off the front of the operands that an expression reads, in that order."""
        has = (words.bw, words.table, True, words.zeros, words.group)
        found = cls(*(left.pop(0) if present else None for present in has))
        require(len(found.values.shape) == len(words.values_shape), "operands are read in another order")
        return found


def schedule(func: Any, limits: GpuLimits) -> Any:
    """The kernel of a fused ``compressed`` of this file.

    Raises:
        NotApplicable: it is something else.
    """
    fused = take_apart(func, TEMPLATE)
    require(fused is not None, "no product by compressed weights")
    assert fused is not None
    p = dict(fused.parameters)
    layer = Product(Words(**p.pop("words")), tuple(p.pop("shape")), **p)
    left = list(fused.operands)
    data = left.pop(0)
    return fused.finish(_Emitter(fused, layer, data, PackedBuffers.take(layer.words, left)).kernel())


class Decoder:
    """The weights of a work-item, chunk by chunk: vectors of neighbouring outputs, float32."""

    def __init__(self, words: Words, buffers: PackedBuffers, tile: Any, lane: Any) -> None:
        """
        Args:
            tile, lane: of the work-item.
        """
        self.words, self.buffers, self.tile, self.lane = words, buffers, tile, lane
        self.first = (tile * words.lanes + lane) * words.rows  # output
        self._loaded: list[Any] = []
        self._zeros: Any = None
        self._four: Any = None

    def open(self, chunk: Any) -> list[Any]:
        """Statements that load the words of a chunk."""
        w, statements = self.words, []
        self._loaded = []
        for word in range(w.words):
            value = w.load(self.buffers.values, self.tile, chunk, word, self.lane)
            dtype = vector("int32" if w.planes else "float32", w.rows)
            var, statement = bound(dtype, "word", value if w.bits != 16 else value.astype(dtype))
            self._loaded.append(var)
            statements.append(statement)
        return statements

    def open_group(self, group: Any) -> list[Any]:
        """Statements that load the zero points of a group."""
        if self.buffers.zeros is None:
            return []
        dtype = vector("int32", self.words.rows)
        self._zeros, statement = bound(dtype, "zero", self._of_group(self.buffers.zeros, group, dtype))
        return [statement]

    def scale(self, group: Any) -> Any:
        """The scales of a group."""
        return self._of_group(self.buffers.scales, group, vector("float32", self.words.rows))

    def _of_group(self, buffer: Any, group: Any, dtype: str) -> Any:
        return tirx.BufferLoad(buffer, [group, ramp(self.first, self.words.rows)]).astype(dtype)

    def weight(self, column: int) -> tuple[Any, list[Any]]:
        """The vector of a column of the chunk, and statements to be executed before; columns in order."""
        w = self.words
        if not w.planes:
            return self._loaded[column], []
        statements = []
        if column % _FOUR == 0:
            self._four, statement = bound(vector("int32", w.rows), "four", w.four(self._loaded, column // _FOUR))
            statements.append(statement)
        value = w.byte(self._four, column % _FOUR)
        if self.buffers.table is not None:
            value = tirx.BufferLoad(self.buffers.table, [value])
        elif self._zeros is not None:
            value = value - self._zeros
        dtype = vector("float32", w.rows)
        var, statement = bound(dtype, "w", value if w.table else value.astype(dtype))
        return var, [*statements, statement]


class _Emitter:
    def __init__(self, fused: Fused, layer: Product, data: Any, buffers: PackedBuffers) -> None:
        self.fused, self.layer, self.data, self.buffers = fused, layer, data, buffers

    def kernel(self) -> Any:
        layer, w = self.layer, self.layer.words
        sizes = [("blockIdx.x", w.tiles), ("blockIdx.y", -(-layer.rows // layer.tile))]
        sizes += [("threadIdx.x", w.lanes), ("threadIdx.y", layer.splits)]
        return launch(sizes, self._item)

    def _item(self, tile: Any, row_tile: Any, lane: Any, split: Any) -> Any:
        layer, w = self.layer, self.layer.words
        self.weights = Decoder(w, self.buffers, tile, lane)
        self.row = row_tile * layer.tile
        self.acc = RegisterTile.make(layer.tile, layer.chains, w.rows)
        self.x = tirx.decl_buffer(i64s(layer.tile * _FOUR), "float32", name="x", scope="local")
        total = RegisterTile.make(layer.tile, 1, w.rows, name="total")
        spans, length = layer.spans
        share = -(-spans // layer.splits)
        count: Any = i64(share)
        if spans % layer.splits:
            count = tirx.min(count, spans - split * share)

        def span(number: Any) -> Any:
            unrolled = layer.unrolled
            if not w.group:
                return self._chunks(number * unrolled)
            several: Any = length // unrolled
            if w.chunks % length:
                several = tirx.min(i64(several), w.chunks // unrolled - number * several)
            statements = [*self.acc.fill(0), *self.weights.open_group(number)]
            step = loop(several, lambda t: self._chunks(number * length + t * unrolled), name="chunk")
            return sequence([*statements, step, *self._scaled(total, number)])

        statements = [tirx.AllocBuffer(self.x), *total.fill(0)]
        if not w.group:
            statements += [*self.acc.fill(0), *self.weights.open_group(i64(0))]
        statements.append(between(split * share, count, span, name="span"))
        if not w.group:
            statements += [total.combine(row, 0, lambda _, row=row: self._summed(row)) for row in range(layer.tile)]  # type: ignore[misc]
        store = self._store if layer.splits == 1 else self._store_shared
        return sequence([*statements, *store(total, tile, lane, split)])

    def _scaled(self, total: RegisterTile, group: Any) -> list[Any]:
        scale, statement = bound(total.vector_type, "scale", self.weights.scale(group))
        sums = [
            total.combine(row, 0, lambda old, row=row: old + self._summed(row) * scale)  # type: ignore[misc]
            for row in range(self.layer.tile)
        ]
        return [statement, *sums]

    def _summed(self, row: int) -> Any:
        """What the chains of a row came to."""
        first, *others = (self.acc.load(row, chain) for chain in range(self.layer.chains))
        return sum(others, first)

    # -- one chunk of columns

    def _chunks(self, first: Any) -> Any:
        return sequence([s for number in range(self.layer.unrolled) for s in self._chunk(first + number)])

    def _chunk(self, chunk: Any) -> list[Any]:
        w = self.layer.words
        statements = self.weights.open(chunk)
        start: Any = chunk * w.chunk  # of the four columns, among the activations' columns
        for four in range(0, w.chunk, _FOUR):
            if not w.bw:
                statements += self._load_four(chunk * w.chunk + four)
            elif w.bw >= _FOUR:
                if four % w.bw == 0:
                    start = self._block(chunk, four)
                statements += self._load_four(start + four % w.bw)
            else:
                for column in range(four, four + _FOUR):
                    if column % w.bw == 0:
                        start = self._block(chunk, column)
                    statements += self._load_one(start + column % w.bw, column - four)
            for column in range(four, four + _FOUR):
                weight, before = self.weights.weight(column)
                statements += before
                for row in range(self.layer.tile):
                    x = broadcast(tirx.BufferLoad(self.x, [i64(row * _FOUR + column - four)]), w.rows)
                    chain = column % self.layer.chains
                    statements.append(self.acc.combine(row, chain, lambda old, x=x, weight=weight: old + x * weight))  # type: ignore[misc]
        return statements

    def _block(self, chunk: Any, column: int) -> Any:
        """Where the activations of a block begin that holds this column of the chunk.

        Not bound to a variable: lowering narrows indices to 32 bits only where it sees what they are.
        """
        w = self.layer.words
        block = tirx.floordiv(chunk * w.chunk + column, w.bw)
        place = tirx.BufferLoad(self.buffers.index, [block, tirx.floordiv(self.weights.first, w.bh)])
        inside = tirx.floormod(chunk * w.chunk, w.bw) if w.bw > w.chunk else i64(0)
        return place.astype("int64") * w.bw + inside

    def _load_four(self, start: Any) -> list[Any]:
        """Four neighbouring columns of all rows."""
        if self.layer.shape[-1] % _FOUR:  # vectors want alignment
            return [s for place in range(_FOUR) for s in self._load_one(start + place, place)]
        found = []
        for row in range(self.layer.tile):
            value = tirx.BufferLoad(self.data, [*self._row(row), ramp(start, _FOUR)]).astype("float32x4")
            found.append(tirx.BufferStore(self.x, value, [ramp(i64(row * _FOUR), _FOUR)]))
        return found

    def _load_one(self, column: Any, place: int) -> list[Any]:
        return [
            tirx.BufferStore(
                self.x,
                tirx.BufferLoad(self.data, [*self._row(row), column]).astype("float32"),
                [i64(row * _FOUR + place)],
            )
            for row in range(self.layer.tile)
        ]

    def _row(self, row: int) -> list[Any]:
        """Where a row of the tile lies; the last one again beyond the last."""
        layer = self.layer
        flat = self.row + row
        if layer.rows % layer.tile:
            flat = tirx.min(flat, i64(layer.rows - 1))
        return unflatten(flat, layer.shape[:-1])

    # -- results

    def _store(self, total: RegisterTile, tile: Any, lane: Any, split: Any) -> list[Any]:
        w = self.layer.words
        return [
            self._store_one(row, self.weights.first + r, tirx.BufferLoad(total.buffer, [i64(row * w.rows + r)]))
            for row in range(self.layer.tile)
            for r in range(w.rows)
        ]

    def _store_shared(self, total: RegisterTile, tile: Any, lane: Any, split: Any) -> list[Any]:
        """Through local memory, where all work-items of the group take a part in adding up."""
        layer, w = self.layer, self.layer.words
        results = layer.tile * w.rows
        shared = tirx.decl_buffer(i64s(layer.splits, results, w.lanes), "float32", name="sums", scope="shared")
        statements = [tirx.AllocBuffer(shared)]
        for result in range(results):
            value = tirx.BufferLoad(total.buffer, [i64(result)])
            statements.append(tirx.BufferStore(shared, value, [split, i64(result), lane]))

        def add_up(i: Any) -> Any:
            result = i * layer.splits + split
            value = sum(
                (tirx.BufferLoad(shared, [i64(s), result, lane]) for s in range(1, layer.splits)),
                tirx.BufferLoad(shared, [i64(0), result, lane]),
            )
            row, r = tirx.floordiv(result, w.rows), tirx.floormod(result, w.rows)
            store = self._store_one(row, self.weights.first + r, value)
            return guarded([result < results] if results % layer.splits else [], store)

        return [*statements, loop(-(-results // layer.splits), add_up, name="result")]

    def _store_one(self, row: Any, output: Any, value: Any) -> Any:
        layer, w = self.layer, self.layer.words
        flat = self.row + row
        conditions = [output < w.outputs] if w.outputs % (w.lanes * w.rows) else []
        conditions += [flat < layer.rows] if layer.rows % layer.tile else []
        return guarded(conditions, self.fused.store([*unflatten(flat, layer.shape[:-1]), output], value))
