"""Packed arrays of a weight as operands of a kernel, and the decoding of what a work-item loads of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tvm import te, tirx

from tilewright.targets.schedules import gpu_pairs
from tilewright.targets.schedules.fused import Fused, take_apart
from tilewright.targets.schedules.gpu_common import require
from tilewright.targets.schedules.gpu_ir import bound, ramp
from tilewright.targets.schedules.gpu_words import Words, splat, vector
from tilewright.targets.schedules.ir import i64, i64s

FOUR = 4  # columns that share words of bit planes


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

    def multiplied_byte(self, x: Any, output: Any, column: Any) -> Any:
        """An int32 times an integer weight, times what bytes of bit planes are too large by; a float if scaled."""
        w = self.words
        product = x * (w.decode_one(lambda *i: self.values(*i), output, column) * w.gain)
        if self.scales is None:
            return product
        scale = self.scales[tirx.floordiv(column, w.group), output]
        return product.astype("float32") * scale.astype("float32")


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


def opened(func: Any, template: str) -> tuple[Fused, Words, dict[str, Any], Any, PackedBuffers]:
    """A fused layer taken apart: its words, the other parameters of its template, activations and packed arrays.

    Raises:
        NotApplicable: it is of another template.
    """
    fused = take_apart(func, template)
    require(fused is not None, f"no {template}")
    assert fused is not None
    parameters = dict(fused.parameters)
    words = Words(**parameters.pop("words"))
    data, *left = fused.operands
    return fused, words, parameters, data, PackedBuffers.take(words, left)


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
            dtype = vector("int32" if w.planes or w.pairs else "float32", w.rows)
            var, statement = bound(dtype, "word", value if w.bits != 16 or w.pairs else value.astype(dtype))
            self._loaded.append(var)
            statements.append(statement)
        return statements

    def open_group(self, group: Any) -> list[Any]:
        """Statements that load the zero points of a group."""
        if self.buffers.zeros is None:
            return []
        w = self.words
        dtype = vector("int32", w.rows)
        zero = self._of_group(self.buffers.zeros, group, dtype)
        if w.pairs:  # in both halves, as Words.pair has integers
            zero = zero * splat(w.gain * 0x00010001, w.rows) | splat(gpu_pairs.BIAS, w.rows)
        self._zeros, statement = bound(dtype, "zero", zero)
        return [statement]

    def scale(self, group: Any) -> Any:
        """The scales of a group."""
        return self._of_group(self.buffers.scales, group, vector("float32", self.words.rows))

    def _of_group(self, buffer: Any, group: Any, dtype: str) -> Any:
        return tirx.BufferLoad(buffer, [group, ramp(self.first, self.words.rows)]).astype(dtype)

    def four(self, column: int) -> Any:
        """The vector of four columns of the chunk as signed bytes of int32, ``Words.gain`` times the weights."""
        return self.words.four(self._loaded, column // FOUR)

    def pair(self, number: int) -> Any:
        """The vector of two neighbouring columns of the chunk in half precision, ``unit`` times too small."""
        w = self.words
        value = w.pair(self._loaded, number)
        if not w.planes:
            return value
        zero = splat(gpu_pairs.SIGNED_ZERO, w.rows) if self.buffers.zeros is None else self._zeros
        return gpu_pairs.subtract(value, zero)

    @property
    def unit(self) -> float:
        """What sums of products of ``pair`` are to be multiplied with."""
        return gpu_pairs.UNIT / self.words.gain if self.words.planes else 1

    def weight(self, column: int) -> tuple[Any, list[Any]]:
        """The vector of a column of the chunk, and statements to be executed before; columns in order."""
        w = self.words
        if not w.planes:
            return self._loaded[column], []
        statements = []
        if column % FOUR == 0:
            self._four, statement = bound(vector("int32", w.rows), "four", w.four(self._loaded, column // FOUR))
            statements.append(statement)
        value = w.byte(self._four, column % FOUR)
        if self.buffers.table is not None:
            value = tirx.BufferLoad(self.buffers.table, [value])
        elif self.buffers.zeros is not None:
            assert self._zeros is not None, "no group is open"
            value = value - self._zeros
        dtype = vector("float32", w.rows)
        var, statement = bound(dtype, "w", value if w.table else value.astype(dtype))
        return var, [*statements, statement]
