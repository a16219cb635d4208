"""Products by compressed weights: what a layer is, how its work is divided, and what it computes as an expression.

Activations are floats or unsigned bytes. Of bytes the result is that of integers, 2**(8 - bits) times what the weights
say, and activations are 128 lower (see gpu_dot.py); zero points, scales and everything else follow in the epilogue.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import Any

from tvm import te

from tilewright.targets.schedules.fused import mark
from tilewright.targets.schedules.gpu_common import GpuLimits
from tilewright.targets.schedules.gpu_decoder import FOUR, PackedOperands
from tilewright.targets.schedules.gpu_dot import OFFSET
from tilewright.targets.schedules.gpu_row_kernel import Grid, splits_for, tile_for
from tilewright.targets.schedules.gpu_words import STEP, Words
from tilewright.targets.schedules.ir import i64, i64s

TEMPLATE = "gpu_compressed"
_ACCUMULATORS = 16  # registers that chains may take at most ...
_WORDS = 36  # ... and together with the words of a chunk
_ROWS = 8  # of activations that a work-item takes at most
_OTHERS = 8  # registers that counters and constant addresses take


@dataclass(frozen=True)
class Product:
    """One layer.

    Attributes:
        shape: of the activations, [*batch, rows, depth]; depth padded to what the weights read.
        dtype: of the activations: float32, float16 or uint8.
        tile: rows of a work-item.
        splits: work-items that share a reduction.
        streams: a work-item reads chunks that are far from each other in turns: one core reads several streams faster
            than one.
    """

    words: Words
    shape: tuple[int, ...]
    dtype: str = "float32"
    tile: int = 1
    splits: int = 1
    streams: bool = False

    @property
    def integer(self) -> bool:
        """Whether integers are multiplied."""
        return self.dtype == "uint8"

    @property
    def out_dtype(self) -> str:
        return "int32" if self.integer and not self.words.group else "float32"

    @property
    def rows(self) -> int:
        return math.prod(self.shape[:-1])

    @property
    def out_shape(self) -> tuple[int, ...]:
        return (*self.shape[:-1], self.words.outputs)

    @property
    def chains(self) -> int:
        """Sums of a row that are independent of each other, to hide the latency of additions."""
        if self.words.pairs or (self.integer and self.tile > 1):  # as rows are, and plain integers leave few registers
            return 1
        spare = min(_ACCUMULATORS, _WORDS - self.words.words * self.words.rows)
        return max(1, min(FOUR, spare // (self.tile * self.words.rows)))

    @property
    def registers(self) -> int:
        """Roughly what a work-item needs, of 32 bits: sums, the words of a chunk and what becomes of them, activations
        and their addresses, which have 64 bits.

        A load that few products wait for is issued early, so that activations of two fours are there at once. Bytes
        count one by one, of weights and of two words of activations: drivers that do not have an instruction for dot
        products take words apart.
        """
        w = self.words
        sums = self.tile * w.rows * (self.chains + bool(w.group or w.pairs))
        activations = 2 * FOUR if self.integer else FOUR * self.tile * (2 if w.rows == 1 else 1)
        decoding = FOUR if self.integer else 2 * bool(w.planes) + 2 * bool(w.table) + 2 * w.zeros
        return sums + (w.words + decoding) * w.rows + activations + 2 * self.tile

    @property
    def unrolled(self) -> int:
        """Chunks that come without a loop around them: as many as 32 columns have, of whole groups.

        Of pairs these are also all that are added up in half: one half adds up gpu_pairs.RUN at most.
        """
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
        most = max(1, min(_ROWS, limits.accumulators // w.rows // (2 if w.group or w.pairs else 1)))
        while most > 1 and replace(self, tile=most).registers > limits.registers - _OTHERS:
            most -= 1
        tile = tile_for(self.rows, most)
        grid = Grid(w.outputs, w.rows, w.lanes, tile)
        splits = splits_for(grid, self.rows, self.spans[0], limits)
        return replace(self, tile=tile, splits=splits, streams=limits.serial and not w.group)


def padded_depth(words: Words, depth: int, integer: bool = False) -> int:
    """Columns that activations of so many need: whole blocks, or for dense weights what these were padded to; whole
    words of bytes."""
    unit = max(words.bw, FOUR if integer else 1)
    return -(-depth // unit) * unit if words.bw else words.columns


def compressed(layer: Product) -> Any:
    """The PrimFunc (activations, [index], [codebook], values, [zero points], [scales], output) of a layer."""
    w = layer.words
    data = te.placeholder(i64s(*layer.shape), layer.dtype, "data")
    column = te.reduce_axis((i64(0), i64(w.columns)), "column")
    weights = PackedOperands(w)

    def element(*at: Any) -> Any:
        *row, output = at
        x = data(*row, weights.place(output, column))
        if layer.integer:
            return te.sum(weights.multiplied_byte(x.astype("int32") - OFFSET, output, column), axis=column)
        return te.sum(weights.multiplied(x.astype("float32"), output, column), axis=column)

    marks = mark(TEMPLATE, **asdict(layer))
    result = te.compute(i64s(*layer.out_shape), element, name="compressed", attrs=marks)
    return te.create_prim_func([data, *weights.operands, result]).with_attr("op_pattern", 4)
