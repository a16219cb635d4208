"""Products by compressed weights, dense or block-sparse, read packed: one template for all formats.

A work-item computes a few neighbouring outputs of a few rows of the activations (gpu_row_kernel.py). For each chunk of
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
from tilewright.targets.schedules.cpu_ir import RegisterTile, broadcast, i64, i64s, loop, sequence
from tilewright.targets.schedules.gpu_common import GpuLimits, require
from tilewright.targets.schedules.gpu_decoder import FOUR, Decoder, PackedBuffers, PackedOperands
from tilewright.targets.schedules.gpu_ir import bound, ramp
from tilewright.targets.schedules.gpu_row_kernel import Grid, RowKernel, splits_for
from tilewright.targets.schedules.gpu_words import STEP, Words

TEMPLATE = "gpu_compressed"
_ACCUMULATORS = 16  # registers that chains may take at most ...
_WORDS = 36  # ... and together with the words of a chunk
_ROWS = 8  # of activations that a work-item takes at most


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
        return max(1, min(FOUR, spare // (self.tile * self.words.rows)))

    @property
    def registers(self) -> int:
        """Roughly what a work-item needs, of 32 bits: sums, the words of a chunk, activations, and the rest."""
        w = self.words
        sums = self.tile * w.rows * (self.chains + bool(w.group))
        return sums + w.words * w.rows + FOUR * self.tile + 4 * w.rows

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
        grid = Grid(w.outputs, w.rows, w.lanes, tile)
        return replace(self, tile=tile, splits=splits_for(grid, self.rows, self.spans[0], limits))


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


class _Emitter(RowKernel):
    def __init__(self, fused: Fused, layer: Product, data: Any, buffers: PackedBuffers) -> None:
        w = layer.words
        super().__init__(fused, data, layer.shape, Grid(w.outputs, w.rows, w.lanes, layer.tile, layer.splits))
        self.layer, self.buffers = layer, buffers

    def item(self, tile: Any, lane: Any, split: Any) -> tuple[list[Any], Any]:
        layer, w = self.layer, self.layer.words
        self.weights = Decoder(w, self.buffers, tile, lane)
        self.acc = RegisterTile.make(layer.tile, layer.chains, w.rows)
        self.x = tirx.decl_buffer(i64s(layer.tile * FOUR), "float32", name="x", scope="local")
        total = RegisterTile.make(layer.tile, 1, w.rows, name="total")
        spans, length = layer.spans

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
        statements.append(self.shared_loop(spans, split, span))
        if not w.group:
            statements += [total.combine(row, 0, lambda _, row=row: self._summed(row)) for row in range(layer.tile)]  # type: ignore[misc]
        return statements, total.buffer

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
        found = []
        for row in range(self.layer.tile):
            value = tirx.BufferLoad(self.data, [*self.place(row), ramp(start, FOUR)]).astype("float32x4")
            found.append(tirx.BufferStore(self.x, value, [ramp(i64(row * FOUR), FOUR)]))
        return found

    def _load_one(self, column: Any, place: int) -> list[Any]:
        return [
            tirx.BufferStore(
                self.x,
                tirx.BufferLoad(self.data, [*self.place(row), column]).astype("float32"),
                [i64(row * FOUR + place)],
            )
            for row in range(self.layer.tile)
        ]
