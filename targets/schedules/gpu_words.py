"""Kernel order: how the GPU kernels of compressed weights want them in memory, and how a word of them is decoded.

A weight matrix [outputs, depth], less the columns that a layout drops, is the payload [outputs, kept columns]. A
work-item takes ``rows`` neighbouring outputs, ``lanes`` work-items lie side by side, and columns come in chunks:

    [tile of lanes * rows outputs][chunk][word][lane][row]

so that neighbouring work-items load neighbouring vectors, and a tile is one stream. A word is a float, or 32 bits with
fields of integers: four neighbouring columns lie in the four bytes of a word, at their top, which is what dot products
of four bytes want. An integer of B bits is kept as bit planes of 4, 2 and 1 bits, most significant first, so that it
takes B bits: a word of a plane of w bits holds the fields of 8/w successive fours of columns, the first in the low bits
of every byte. A chunk is as many columns as fill the words of all planes.

Blocks of bh x bw weights that a sparse layout keeps are bw columns of the payload each; where they stand says the
index, transposed: [block][block row], so that lanes read neighbouring entries.

Where halves are multiplied in pairs (gpu_pairs.py), a word of floats is two neighbouring columns in half precision, and
the four columns in a word of bit planes lie in its bytes 0, 2, 1 and 3: each half of the word has one of a pair.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from tvm import tirx

from tilewright.targets.schedules.gpu_ir import ramp
from tilewright.targets.schedules.gpu_pairs import BIAS, SIGNED_ZERO
from tilewright.targets.schedules.ir import i64

Array = npt.NDArray[Any]

_PLANES = {8: (8,), 7: (4, 2, 1), 6: (4, 2), 5: (4, 1), 4: (4,), 3: (2, 1), 2: (2,), 1: (1,)}
STEP = 32  # columns at most that kernels take without a loop
_FLOAT_CHUNK = 4  # columns that are loaded together


@dataclass(frozen=True)
class Words:
    """The geometry of one weight matrix in kernel order.

    Attributes:
        outputs: rows of the matrix.
        columns: kept ones of an output, padded to whole chunks.
        bits: of a stored weight: 1 to 8 for integers, 16 and 32 for floats.
        unsigned: integers are not in two's complement.
        rows: outputs of a work-item, a power of two that OpenCL has vectors of.
        lanes: work-items side by side.
        bh, bw: outputs and columns of a block; 0 for dense matrices.
        group: columns that share a scale, whole chunks; 0 where the epilogue scales.
        scale_dtype: of the scales in memory, "" where there are none.
        zeros: every group has zero points; where there are no groups, every output has one.
        table: centroids that integers are numbers of; 0 where they are the weights.
        pairs: columns are multiplied two at a time in half precision.
    """

    outputs: int
    columns: int
    bits: int
    unsigned: bool
    rows: int
    lanes: int
    bh: int = 0
    bw: int = 0
    group: int = 0
    scale_dtype: str = ""
    zeros: bool = False
    table: int = 0
    pairs: bool = False

    @property
    def planes(self) -> tuple[int, ...]:
        """Widths of the bit planes; none for floats."""
        return _PLANES.get(self.bits, ())

    @property
    def chunk(self) -> int:
        """Columns whose words come together."""
        return chunk_of(self.bits)

    @property
    def chunks(self) -> int:
        return self.columns // self.chunk

    @property
    def words(self) -> int:
        """Words of a chunk and row."""
        return self.chunk * self.bits // 32 if self.planes or self.pairs else self.chunk

    @property
    def gain(self) -> int:
        """What ``four`` has integers multiplied with."""
        return 1 << (8 - self.bits)

    @property
    def tiles(self) -> int:
        return -(-self.outputs // (self.lanes * self.rows))

    @property
    def padded_outputs(self) -> int:
        return self.tiles * self.lanes * self.rows

    @property
    def groups(self) -> int:
        return -(-self.columns // self.group) if self.group else 1

    @property
    def values_dtype(self) -> str:
        return "int32" if self.pairs else {16: "float16", 32: "float32"}.get(self.bits, "int32")

    @property
    def values_shape(self) -> tuple[int, ...]:
        return self.tiles, self.chunks, self.words, self.lanes, self.rows

    @property
    def index_shape(self) -> tuple[int, int]:
        return self.columns // self.bw, -(-self.padded_outputs // self.bh)

    @property
    def scales_shape(self) -> tuple[int, int]:
        """Of scales, and of zero points."""
        return self.groups, self.padded_outputs

    @property
    def nbytes(self) -> int:
        """Bytes of values and index."""
        index = 2 * int(np.prod(self.index_shape)) if self.bw else 0
        return int(np.prod(self.values_shape)) * np.dtype(self.values_dtype).itemsize + index

    # -- packing, in NumPy

    def pack(self, payload: Array) -> Array:
        """The values of ``values_shape``.

        Args:
            payload: integers or floats, [rows, kept columns].
        """
        padded = np.zeros((self.padded_outputs, self.columns), payload.dtype)
        rows = min(payload.shape[0], self.outputs)
        padded[:rows, : payload.shape[1]] = payload[:rows]
        if not self.planes:
            return self._ordered(padded.astype("<f2").view("<i4") if self.pairs else padded.astype(self.values_dtype))
        fields = (padded.astype(np.int32) & ((1 << self.bits) - 1)).astype(np.uint8)
        fours = fields.reshape(self.padded_outputs, self.chunks, self.chunk // 4, 4)
        fours = fours[..., [0, 2, 1, 3]] if self.pairs else fours
        parts, rest = [], self.bits
        for plane in self.planes:
            rest -= plane
            share = 8 // plane
            part = (fours >> rest & ((1 << plane) - 1)).reshape(*fours.shape[:2], -1, share, 4)
            shifts = (np.arange(share, dtype=np.uint8) * plane)[:, None]
            parts.append(np.bitwise_or.reduce(part << shifts, axis=3))
        return self._ordered(np.ascontiguousarray(np.concatenate(parts, axis=2)).view("<i4"))

    def _ordered(self, values: Array) -> Array:
        split = values.reshape(self.tiles, self.lanes, self.rows, self.chunks, self.words)
        return np.ascontiguousarray(split.transpose(0, 3, 4, 1, 2))

    def pack_index(self, index: Array) -> Array:
        """The index [block rows, k], uint16 of ``index_shape``; blocks of padding stand where the last one does."""
        blocks, block_rows = self.index_shape
        padded = np.pad(index, ((0, 0), (0, blocks - index.shape[1])), mode="edge")[:block_rows]
        padded = np.pad(padded, ((0, block_rows - padded.shape[0]), (0, 0)))
        return np.ascontiguousarray(padded.T).astype(np.uint16)

    def pack_scales(self, scales: Array, dtype: str) -> Array:
        """Scales or zero points [rows or 1, groups], of ``scales_shape``."""
        padded = np.zeros(self.scales_shape, dtype)
        spread = np.broadcast_to(scales, (max(scales.shape[0], self.outputs), scales.shape[1]))
        padded[: scales.shape[1], : self.outputs] = spread[: self.outputs].T
        return padded

    # -- decoding, in TIR

    def decode_one(self, load: Callable[..., Any], output: Any, column: Any) -> Any:
        """One weight as it is stored, int32 or float32, for an expression that is no kernel's inner loop."""
        tile, inside = tirx.floordiv(output, self.lanes * self.rows), tirx.floormod(output, self.lanes * self.rows)
        lane, row = tirx.floordiv(inside, self.rows), tirx.floormod(inside, self.rows)
        chunk, at = tirx.floordiv(column, self.chunk), tirx.floormod(column, self.chunk)
        if not self.planes and self.pairs:
            halves = load(tile, chunk, tirx.floordiv(at, 2), lane, row).astype("uint32")
            bits = (halves >> (tirx.floormod(at, 2) * 16).astype("uint32")).astype("uint16")
            return tirx.reinterpret("float16", bits).astype("float32")
        if not self.planes:
            return load(tile, chunk, at, lane, row).astype("float32")
        four, byte = tirx.floordiv(at, 4), tirx.floormod(at, 4)
        if self.pairs:
            byte = tirx.floormod(byte, 2) * 2 + tirx.floordiv(byte, 2)
        value: Any = tirx.const(0, "int32")
        base, top = 0, self.bits
        for plane in self.planes:
            share = 8 // plane
            top -= plane
            word = load(tile, chunk, base + tirx.floordiv(four, share), lane, row).astype("uint32")
            shift = (byte * 8 + tirx.floormod(four, share) * plane).astype("uint32")
            field = (word >> shift) & tirx.const((1 << plane) - 1, "uint32")
            value = value + field.astype("int32") * (1 << top)
            base += self.chunk // 4 // share
        if self.unsigned:
            return value
        return tirx.if_then_else(value < 1 << (self.bits - 1), value, value - (1 << self.bits))

    def origin(self, tile: Any, chunk: Any, word: Any, lane: Any, row: Any) -> tuple[Any, Any]:
        """The output and column of a float in ``values``."""
        return (tile * self.lanes + lane) * self.rows + row, chunk * self.chunk + word

    def load(self, values: Any, tile: Any, chunk: Any, word: int, lane: Any) -> Any:
        """A vector of ``rows`` words or floats."""
        return tirx.BufferLoad(values, [tile, chunk, i64(word), lane, ramp(i64(0), self.rows)])

    def four(self, words: list[Any], number: int) -> Any:
        """Four columns of a chunk in the bytes of int32 vectors, at the top: integers times ``gain``.

        Args:
            words: of the chunk.
        """
        result: Any = None
        base, top = 0, 8
        for plane in self.planes:
            share = 8 // plane
            top -= plane
            field = self._shifted(words[base + number // share], top - number % share * plane)
            if plane < 8:
                field = field & splat(_signed(((1 << plane) - 1 << top) * 0x01010101), self.rows)
            result = field if result is None else result | field
            base += self.chunk // 4 // share
        return result

    def pair(self, words: list[Any], number: int) -> Any:
        """Two neighbouring columns of a chunk as pairs: halves, or of integers the bits of 8 + byte/128, see gpu_pairs.

        Bytes have the integers at their top; of those in two's complement the highest bit is flipped.
        """
        if not self.planes:
            return words[number]
        four, odd = divmod(number, 2)
        result: Any = None
        base, top = 0, 8
        for plane in self.planes:
            share = 8 // plane
            top -= plane
            field = self._shifted(words[base + four // share], top - four % share * plane - 8 * odd)
            field = field & splat(((1 << plane) - 1 << top) * 0x00010001, self.rows)
            result = field if result is None else result | field
            base += self.chunk // 4 // share
        return result ^ splat(BIAS if self.unsigned else SIGNED_ZERO, self.rows)

    def byte(self, four: Any, place: int) -> Any:
        """One of the four columns that ``four`` made: the integers themselves, int32."""
        drop = 8 - self.bits
        if self.unsigned:
            shifted = self._shifted(four, -(8 * place + drop))
            return shifted & splat((1 << self.bits) - 1, self.rows)
        return self._shifted(self._shifted(four, 24 - 8 * place), -(24 + drop))

    def _shifted(self, value: Any, left: int) -> Any:
        """Shifted left, or right with the sign where ``left`` is negative."""
        if left == 0:
            return value
        return value << splat(left, self.rows) if left > 0 else value >> splat(-left, self.rows)


def chunk_of(bits: int) -> int:
    """Columns whose words come together, for weights of so many bits."""
    planes = _PLANES.get(bits)
    return 4 * (8 // min(planes)) if planes else _FLOAT_CHUNK


def vector(dtype: str, lanes: int) -> str:
    """The name of a vector type."""
    return dtype if lanes == 1 else f"{dtype}x{lanes}"


def splat(value: int, lanes: int) -> Any:
    """An int32 constant in every lane."""
    constant = tirx.const(value, "int32")
    return constant if lanes == 1 else tirx.Broadcast(constant, lanes)


def _signed(word: int) -> int:
    return word - (1 << 32) if word >= 1 << 31 else word
