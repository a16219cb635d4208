"""Kernel order: how the cpu kernels of compressed weights want them in memory, and how a vector of them is decoded.

A weight matrix [outputs, depth] is cut into block rows of ``bh`` outputs, each with k blocks of bh x bw weights, one
after the other as the kernel reads them. A block is one or more vectors; a lane holds one word, which is a weight, or
four neighbouring weights of a row where they meet activations of eight bits in a dot product:

    [block row][block][step][vector][row in vector][word in vector][weight in word]

Where a block is narrower than a register, lanes hold several words of a row, and their sums are added up at the end.
Where all blocks are stored, each vector of outputs has a place of its own, [block row][vector][block][step] and so on:
a core reads several streams from memory half as fast again as one.

Integers of B bits are kept as bit planes of 4, 2 and 1 bits, most significant first, so that they take B bits and are
decoded by shifts and masks on whole vectors: byte e of a plane of w bits holds the fields of element e of 8/w
successive blocks, the first in the low bits. Decoded, the integer is at the top of a signed byte: scaled by 2**(8-B).
Numbers of centroids are kept likewise and decoded as they are. What is made of both: cpu_decoder.py.

Where two of every four columns are stored, a block is four columns wide and holds two for each output; for each output
and block, four bits say which, as the format has them; byte e of these belongs to output e and two successive blocks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from tvm import tirx

from tilewright.targets.schedules.cpu_dot import splat
from tilewright.targets.schedules.ir import i64, ramp, vector_type

Array = npt.NDArray[Any]

_PLANES = {8: (8,), 7: (4, 2, 1), 6: (4, 2), 5: (4, 1), 4: (4,), 3: (2, 1), 2: (2,), 1: (1,)}


@dataclass(frozen=True)
class Blocks:
    """The geometry of one weight matrix in kernel order.

    Attributes:
        outputs, depth: rows and columns of the matrix.
        bh, bw: outputs and columns of a block.
        k: blocks kept in a block row.
        sparse: whether there is an index; else block j covers columns [j*bw, (j+1)*bw).
        bits: of a stored weight: 1 to 8 for integers, 16 and 32 for floats.
        word: weights in a lane, 1 or 4.
        lanes: words in a register of the device.
        group: blocks that share a scale; 0 where the epilogue scales.
        scale_dtype: of the scales in memory, "" where there are none.
        asymmetric: whether groups, or else outputs, have zero points.
        centroids: how many there are where integers are numbers of centroids; 0 otherwise.
        kept: stored columns of a block of four, 2; 0 where all of a block are.
    """

    outputs: int
    depth: int
    bh: int
    bw: int
    k: int
    sparse: bool
    bits: int
    word: int
    lanes: int
    group: int = 0
    scale_dtype: str = ""
    asymmetric: bool = False
    centroids: int = 0
    kept: int = 0

    @property
    def is_plain(self) -> bool:
        """Whether integers or floats are all that is stored: no zero points, centroids or places."""
        return not (self.asymmetric or self.centroids or self.kept)

    @property
    def block_rows(self) -> int:
        return -(-self.outputs // self.bh)

    @property
    def streams(self) -> int:
        """Places of memory that a block row is read from at a time, each with as many of its vectors."""
        return 1 if self.sparse else self.vectors

    @property
    def abreast(self) -> int:
        """Vectors that cover the outputs of a block in one of them."""
        return self.vectors // self.streams

    @property
    def piece(self) -> int:
        """Weights stored of a block in one of them."""
        return self.elements // self.streams

    @property
    def used(self) -> int:
        """Blocks of a block row that count: units may hold zeros after them."""
        return self.k

    @property
    def across(self) -> int:
        """Columns of a block that are stored."""
        return self.kept or self.bw

    @property
    def stored(self) -> int:
        """Weights of a word that are stored."""
        return min(self.word, self.across)

    @property
    def height(self) -> int:
        """Outputs in a vector."""
        return min(self.bh, self.lanes)

    @property
    def vectors(self) -> int:
        """Vectors that cover the outputs of a block."""
        return self.bh // self.height

    @property
    def width(self) -> int:
        """Words of a row in a vector."""
        return min(self.lanes // self.height, self.across // self.stored)

    @property
    def steps(self) -> int:
        """Vectors that cover the columns of a block."""
        return self.across // (self.stored * self.width)

    @property
    def vector_lanes(self) -> int:
        return self.height * self.width

    @property
    def elements(self) -> int:
        """Weights stored of a block."""
        return self.bh * self.across

    @property
    def planes(self) -> tuple[int, ...]:
        """Widths of the bit planes; none for floats."""
        return _PLANES.get(self.bits, ())

    @property
    def unit(self) -> int:
        """Blocks that are packed together."""
        return max(8 // min(self.planes) if self.planes else 1, 2 if self.kept else 1)

    @property
    def units(self) -> int:
        """Of a block row; the last may be filled up with zeros."""
        return -(-self.k // self.unit)

    @property
    def unit_bytes(self) -> int:
        """Of one stream."""
        return self.unit * self.piece * self.bits // 8

    @property
    def groups(self) -> int:
        """Of a block row."""
        return -(-self.k // self.group) if self.group else 1

    @property
    def values_dtype(self) -> str:
        return {16: "float16", 32: "float32"}.get(self.bits, "uint8")

    @property
    def values_shape(self) -> tuple[int, int, int]:
        """[block rows, units of a stream after those of another, bytes of a unit, or floats]."""
        return self.block_rows, self.streams * self.units, self.unit_bytes if self.planes else self.unit * self.piece

    @property
    def scales_shape(self) -> tuple[int, int, int]:
        """Of scales and zero points."""
        return self.block_rows, self.groups, self.bh

    @property
    def places_shape(self) -> tuple[int, int, int]:
        """[block rows, pairs of blocks, outputs of a block], uint8."""
        return self.block_rows, -(-self.k // 2), self.bh

    @property
    def gain(self) -> int:
        """What decoded integers are scaled by."""
        return 1 << (8 - self.bits) if self.planes and not self.centroids else 1

    # -- packing, in NumPy

    def arrange(self, payload: Array) -> Array:
        """[rows, stored columns] in kernel order: [block rows and streams, blocks of all units, elements], padded with
        zeros."""
        rows, columns = payload.shape
        blocks = self.units * self.unit
        padded = np.zeros((self.block_rows * self.bh, blocks * self.across), payload.dtype)
        padded[:rows, :columns] = payload
        split = padded.reshape(
            self.block_rows, self.streams, self.abreast, self.height, blocks, self.steps, self.width, self.stored
        ).transpose(0, 1, 4, 5, 2, 3, 6, 7)
        return np.ascontiguousarray(split).reshape(self.block_rows * self.streams, blocks, self.piece)

    def pack(self, payload: Array) -> Array:
        """The values of ``values_shape``.

        Args:
            payload: integers in two's complement range, or floats, [rows, kept columns].
        """
        arranged = self.arrange(payload)
        if not self.planes:
            return arranged.astype(self.values_dtype).reshape(self.values_shape)
        fields = (arranged.astype(np.int16) & ((1 << self.bits) - 1)).astype(np.uint8)
        units = fields.reshape(self.block_rows * self.streams, self.units, self.unit, self.piece)
        parts, rest = [], self.bits
        for plane in self.planes:
            rest -= plane
            field = units >> rest & ((1 << plane) - 1)
            share = 8 // plane
            shared = field.reshape(*units.shape[:2], self.unit // share, share, self.piece)
            shifts = (np.arange(share, dtype=np.uint8) * plane)[:, None]
            parts.append(np.bitwise_or.reduce(shared << shifts, axis=3).reshape(*units.shape[:2], -1))
        return np.ascontiguousarray(np.concatenate(parts, axis=2)).reshape(self.values_shape)

    def pack_scales(self, scales: Array, dtype: str = "") -> Array:
        """Scales, or zero points of their own dtype, [rows, groups], in ``scales_shape``."""
        padded = np.zeros((self.block_rows * self.bh, self.groups), dtype or self.scale_dtype)
        padded[: scales.shape[0], : scales.shape[1]] = scales
        return np.ascontiguousarray(padded.reshape(self.block_rows, self.bh, self.groups).transpose(0, 2, 1))

    def pack_places(self, codes: Array) -> Array:
        """Codes of four bits [rows, k] in ``places_shape``."""
        pairs = self.places_shape[1]
        padded = np.zeros((self.block_rows * self.bh, 2 * pairs), np.uint8)
        padded[: codes.shape[0], : codes.shape[1]] = codes
        split = padded.reshape(self.block_rows, self.bh, pairs, 2).transpose(0, 2, 1, 3)
        return np.ascontiguousarray(split[..., 0] | split[..., 1] << 4)

    # -- decoding, in TIR

    def position(self, row: Any, column: Any) -> Any:
        """Where in a block the weight of a row and stored column is, streams after one another."""
        across = self.width * self.stored
        step, inside = tirx.floordiv(column, across), tirx.floormod(column, across)
        vector, lane = tirx.floordiv(row, self.height), tirx.floormod(row, self.height)
        stream, vector = tirx.floordiv(vector, self.abreast), tirx.floormod(vector, self.abreast)
        place = (stream * self.steps + step) * self.abreast + vector
        return (place * self.height + lane) * across + inside

    def origin(self, block_row: Any, block: Any, element: Any) -> tuple[Any, Any]:
        """The row and stored column of a float in ``values``, where there is one stream."""
        across = self.width * self.stored
        at, inside = tirx.floordiv(element, across), tirx.floormod(element, across)
        at, lane = tirx.floordiv(at, self.height), tirx.floormod(at, self.height)
        step, vector = tirx.floordiv(at, self.abreast), tirx.floormod(at, self.abreast)
        row = block_row * self.bh + vector * self.height + lane
        return row, block * self.across + step * across + inside

    def decode_one(self, load: Callable[..., Any], block_row: Any, block: Any, element: Any) -> Any:
        """One weight, int32 or float32, for an expression that is no kernel's inner loop."""
        unit, inside = tirx.floordiv(block, self.unit), tirx.floormod(block, self.unit)
        if self.streams > 1:
            unit, element = unit + tirx.floordiv(element, self.piece) * self.units, tirx.floormod(element, self.piece)
        if not self.planes:
            return load(block_row, unit, inside * self.piece + element).astype("float32")
        value: Any = tirx.const(0, "int32")
        base, top = 0, self._top
        for plane in self.planes:
            share = 8 // plane
            top -= plane
            at = base + tirx.floordiv(inside, share) * self.piece + element
            byte = load(block_row, unit, at).astype("uint32")
            shift = (tirx.floormod(inside, share) * plane).astype("uint32")
            field = (byte >> shift) & tirx.const((1 << plane) - 1, "uint32")
            value = value + field.astype("int32") * (1 << top)
            base += self.unit * self.piece * plane // 8
        return value if self.centroids else (value ^ 128) - 128

    def decode(self, values: Any, block_row: Any, unit: Any, inside: int, step: int, vector: int) -> Any:
        """A vector of block ``inside`` of a unit: float32 of ``vector_lanes``, or integers, ``vector_lanes *
        stored``: uint8 where these are numbers of centroids, and else int8."""
        count = self.vector_lanes * self.stored
        stream, vector = divmod(vector, self.abreast)
        first = (step * self.abreast + vector) * count
        unit = unit + stream * self.units
        if not self.planes:
            value = tirx.BufferLoad(values, [block_row, unit, ramp(i64(inside * self.piece + first), count)])
            return value if self.bits == 32 else value.astype(vector_type("float32", count))
        result: Any = None
        base, top = 0, self._top
        for plane in self.planes:
            share = 8 // plane
            top -= plane
            at = base + inside // share * self.piece + first
            field = tirx.BufferLoad(values, [block_row, unit, ramp(i64(at), count)])
            move = top - inside % share * plane
            field = _shifted(field, move, count)
            if plane < 8:
                field = field & splat("uint8", ((1 << plane) - 1) << top, count)
            result = field if result is None else result | field
            base += self.unit * self.piece * plane // 8
        return result if self.centroids else tirx.reinterpret(vector_type("int8", count), result)

    @property
    def _top(self) -> int:
        """Bits of a byte below which fields go."""
        return self.bits if self.centroids else 8


def _shifted(value: Any, left: int, lanes: int) -> Any:
    """Bytes shifted left, or right where ``left`` is negative."""
    if left == 0:
        return value
    return value << splat("uint8", left, lanes) if left > 0 else value >> splat("uint8", -left, lanes)
