"""Kernels of products by compressed weights, dense or block-sparse, read packed: one template for all formats.

A work-item computes a few neighbouring outputs of a few rows of the activations (gpu_row_kernel.py). For each chunk of
columns (see gpu_words.py) a work-item reads where the columns are, decodes its weights and multiplies them with the
activations there. Scales of groups multiply what a group came to; whatever is one factor an output comes after, in the
epilogue. Bytes are multiplied four at a time (gpu_dot.py), by weights that are decoded to bytes; halves two at a time
(gpu_pairs.py).
"""

from __future__ import annotations

from functools import partial
from typing import Any

from tvm import tirx

from tilewright.targets.schedules import gpu_pairs
from tilewright.targets.schedules.fused import Fused
from tilewright.targets.schedules.gpu_common import GpuLimits
from tilewright.targets.schedules.gpu_decoder import FOUR, Decoder, PackedBuffers, opened
from tilewright.targets.schedules.gpu_dot import dot, joined, load
from tilewright.targets.schedules.gpu_ir import bound, ramp
from tilewright.targets.schedules.gpu_product import TEMPLATE, Product
from tilewright.targets.schedules.gpu_row_kernel import Grid, RowKernel
from tilewright.targets.schedules.ir import RegisterTile, broadcast, i64, i64s, loop, sequence, vector_type


def schedule(func: Any, limits: GpuLimits) -> Any:
    """The kernel of a fused ``gpu_product.compressed``.

    Raises:
        NotApplicable: it is something else.
    """
    fused, words, p, data, buffers = opened(func, TEMPLATE)
    layer = Product(words, tuple(p.pop("shape")), **p)
    emitter = _Bytes if layer.integer else _Pairs if words.pairs else _Floats
    return fused.finish(emitter(fused, layer, data, buffers).kernel())


class _Floats(RowKernel):
    """Activations are floats, and so are sums."""

    dtype = "float32"  # of sums in registers
    held = "float32"  # activations in registers

    def __init__(self, fused: Fused, layer: Product, data: Any, buffers: PackedBuffers) -> None:
        w = layer.words
        super().__init__(fused, data, layer.shape, Grid(w.outputs, w.rows, w.lanes, layer.tile, layer.splits))
        self.layer, self.buffers = layer, buffers

    def item(self, tile: Any, lane: Any, split: Any) -> tuple[list[Any], Any]:
        layer, w = self.layer, self.layer.words
        self.weights = Decoder(w, self.buffers, tile, lane)
        self.acc = RegisterTile.make(layer.tile, layer.chains, w.rows, dtype=self.dtype)
        total = RegisterTile.make(layer.tile, 1, w.rows, name="total", dtype=layer.out_dtype)
        spans, length = layer.spans

        def span(number: Any) -> Any:
            unrolled = layer.unrolled
            if not w.group:
                return self._chunks(number, spans) if layer.streams else self._chunks(number * unrolled)
            several: Any = length // unrolled
            if w.chunks % length:
                several = tirx.min(i64(several), w.chunks // unrolled - number * several)
            statements = [*self.acc.fill(0), *self.weights.open_group(number)]
            step = loop(several, lambda t: self._chunks(number * length + t * unrolled), name="chunk")
            return sequence([*statements, step, *self._scaled(total, number)])

        statements = [*self._allocate(), *total.fill(0)]
        if not w.group:
            statements += [*self.acc.fill(0), *self.weights.open_group(i64(0))]
        statements.append(self.shared_loop(spans, split, span))
        if not w.group:
            statements += [total.combine(row, 0, lambda _, row=row: self._summed(row)) for row in range(layer.tile)]  # type: ignore[misc]
        return statements, total.buffer

    def _scaled(self, total: RegisterTile, group: Any) -> list[Any]:
        kind = total.vector_type
        scale, statement = bound(kind, "scale", self.weights.scale(group))
        sums = [
            total.combine(row, 0, lambda old, row=row: old + self._summed(row).astype(kind) * scale)  # type: ignore[misc]
            for row in range(self.layer.tile)
        ]
        return [statement, *sums]

    def _summed(self, row: int) -> Any:
        """What the chains of a row came to."""
        first, *others = (self.acc.load(row, chain) for chain in range(self.layer.chains))
        return sum(others, first)

    def _allocate(self) -> list[Any]:
        self.x = tirx.decl_buffer(i64s(self.layer.tile * FOUR), self.held, name="x", scope="local")
        return [tirx.AllocBuffer(self.x)]

    # -- one chunk of columns

    def _chunks(self, first: Any, apart: int = 1) -> Any:
        """Chunks of columns, so many numbers apart."""
        return sequence([s for number in range(self.layer.unrolled) for s in self._chunk(first + number * apart)])

    def _chunk(self, chunk: Any) -> list[Any]:
        w = self.layer.words
        statements = self.weights.open(chunk)
        start: Any = chunk * w.chunk  # of the four columns, among the activations' columns
        for four in range(0, w.chunk, FOUR):
            if not w.bw:
                statements += self._load_four(chunk * w.chunk + four)
            elif w.bw >= FOUR:
                if four % w.bw == 0:
                    start = self._block(chunk, four)
                statements += self._load_four(start + four % w.bw)
            else:
                for column in range(four, four + FOUR):
                    if column % w.bw == 0:
                        start = self._block(chunk, column)
                    statements += self._load_one(start + column % w.bw, column - four)
            statements += self._multiply(four)
        return statements

    def _multiply(self, four: int) -> list[Any]:
        """Four columns of the chunk, whose activations are loaded."""
        w, statements = self.layer.words, []
        for column in range(four, four + FOUR):
            weight, before = self.weights.weight(column)
            statements += before
            for row in range(self.layer.tile):
                x = broadcast(tirx.BufferLoad(self.x, [i64(row * FOUR + column - four)]), w.rows)
                chain = column % self.layer.chains
                statements.append(self.acc.combine(row, chain, lambda old, x=x, weight=weight: old + x * weight))  # type: ignore[misc]
        return statements

    def _block(self, chunk: Any, column: int) -> Any:
        """Where the activations of a block begin that holds this column of the chunk.

        Not bound to a variable: lowering narrows indices to 32 bits only where it sees what they are.
        """
        w = self.layer.words
        block = tirx.floordiv(chunk * w.chunk + column, w.bw)
        place = tirx.BufferLoad(self.buffers.index, [block, tirx.floordiv(self.first, w.bh)])
        inside = tirx.floormod(chunk * w.chunk, w.bw) if w.bw > w.chunk else i64(0)
        return place.astype("int64") * w.bw + inside

    def _load_four(self, start: Any) -> list[Any]:
        """Four neighbouring columns of all rows."""
        if self.layer.shape[-1] % FOUR:  # vectors want alignment
            return [s for place in range(FOUR) for s in self._load_one(start + place, place)]
        found, kind = [], vector_type(self.held, FOUR)
        for row in range(self.layer.tile):
            value = tirx.BufferLoad(self.data, [*self.place(row), ramp(start, FOUR)]).astype(kind)
            found.append(tirx.BufferStore(self.x, value, [ramp(i64(row * FOUR), FOUR)]))
        return found

    def _load_one(self, column: Any, place: int) -> list[Any]:
        return [
            tirx.BufferStore(
                self.x,
                tirx.BufferLoad(self.data, [*self.place(row), column]).astype(self.held),
                [i64(row * FOUR + place)],
            )
            for row in range(self.layer.tile)
        ]


class _Bytes(_Floats):
    """Activations are bytes: four columns at a time."""

    dtype = "int32"

    def _allocate(self) -> list[Any]:
        self.w = tirx.decl_buffer(i64s(self.layer.words.rows), self.dtype, name="w", scope="local")
        return [tirx.AllocBuffer(self.w)]

    def _chunks(self, first: Any, apart: int = 1) -> Any:
        self.fours = 0  # so far in this iteration, which chains take turns at
        return super()._chunks(first, apart)

    def _chunk(self, chunk: Any) -> list[Any]:
        layer, w = self.layer, self.layer.words
        statements = self.weights.open(chunk)
        start: Any = chunk * w.chunk
        for four in range(0, w.chunk, FOUR):
            if w.bw >= FOUR and four % w.bw == 0:
                start = self._block(chunk, four)
            inside = four % w.bw if w.bw else four
            statements.append(tirx.BufferStore(self.w, self.weights.four(four), [ramp(i64(0), w.rows)]))
            for row in range(layer.tile):
                word = self._scattered(row, chunk, four) if 0 < w.bw < FOUR else self._word(row, start + inside)
                x, statement = bound(self.dtype, "x", word)
                statements.append(statement)
                for output in range(w.rows):
                    at = [i64(self.acc.offset(row, self.fours % layer.chains) + output)]
                    total = dot(tirx.BufferLoad(self.w, [i64(output)]), x, tirx.BufferLoad(self.acc.buffer, at))
                    statements.append(tirx.BufferStore(self.acc.buffer, total, at))
            self.fours += 1
        return statements

    def _word(self, row: int, start: Any) -> Any:
        """Four neighbouring columns of a row; rows are whole words."""
        return load(tirx.BufferLoad(self.data, [*self.place(row), start]))

    def _scattered(self, row: int, chunk: Any, four: int) -> Any:
        """Four columns of blocks that are narrower."""
        width = self.layer.words.bw
        columns = (self._block(chunk, column) + column % width for column in range(four, four + FOUR))
        return joined([tirx.BufferLoad(self.data, [*self.place(row), column]) for column in columns])


class _Pairs(_Floats):
    """Activations are halves, and so are sums of a few chunks, which ``total`` adds up in float32."""

    dtype = "int32"  # a pair
    held = "float16"

    def item(self, tile: Any, lane: Any, split: Any) -> tuple[list[Any], Any]:
        layer, w = self.layer, self.layer.words
        self.weights = Decoder(w, self.buffers, tile, lane)
        self.acc = RegisterTile.make(layer.tile, 1, w.rows, dtype=self.dtype)
        self.total = RegisterTile.make(layer.tile, 1, w.rows, name="total")
        spans, length = layer.spans
        kind = self.total.vector_type

        def span(number: Any) -> Any:
            if not w.group:
                return self._run(number * layer.unrolled, None)
            several: Any = length // layer.unrolled
            if w.chunks % length:
                several = tirx.min(i64(several), w.chunks // layer.unrolled - number * several)
            zeros = self.weights.open_group(number)  # before chunks, which ask for what it binds
            scale, statement = bound(kind, "scale", self.weights.scale(number))
            step = loop(several, lambda t: self._run(number * length + t * layer.unrolled, scale), name="chunk")
            return sequence([*zeros, statement, step])

        statements = [*self._allocate(), *self.total.fill(0), tirx.AllocBuffer(self.acc.buffer)]
        statements += [] if w.group else self.weights.open_group(i64(0))
        statements.append(self.shared_loop(spans, split, span))
        unit = broadcast(tirx.const(self.weights.unit, "float32"), w.rows)
        if w.planes:
            statements += [self.total.combine(row, 0, lambda old: old * unit) for row in range(layer.tile)]
        return statements, self.total.buffer

    def _run(self, first: Any, scale: Any) -> Any:
        """Chunks that are added up in half, and these sums to all others, times ``scale`` if there is one."""
        statements = [*self.acc.clear(0), self._chunks(first)]
        for row in range(self.layer.tile):
            value = gpu_pairs.total(self.acc.load(row, 0))
            value = value if scale is None else value * scale
            statements.append(self.total.combine(row, 0, lambda old, value=value: old + value))  # type: ignore[misc]
        return sequence(statements)

    def _multiply(self, four: int) -> list[Any]:
        w, statements = self.layer.words, []
        for place in range(0, FOUR, 2):
            value = self.weights.pair((four + place) // 2)
            weight, statement = bound(vector_type(self.dtype, w.rows), "w", value)
            statements.append(statement)
            for row in range(self.layer.tile):
                halves = tirx.BufferLoad(self.x, [ramp(i64(row * FOUR + place), 2)])
                x = broadcast(tirx.reinterpret("int32", halves), w.rows)
                function = partial(gpu_pairs.multiply_add, weight, x)
                statements.append(self.acc.combine(row, 0, function))
        return statements
