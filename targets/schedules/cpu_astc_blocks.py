"""Kernel order of ASTC blocks: what the cpu kernels read instead of them, never more bytes and often fewer.

A block of our own encoder has one mode for all, so that its header says nothing. Two endpoints are left and the symbols
of its weights, which ASTC keeps in threes and fives, bits of one between those of others. Here a block is a few words
of 32 bits with fields one after the other, lowest bits first: two endpoints of eight bits, unquantized, then the
symbols in as many whole bits as they need. Where that takes more words than other ways do, a field holds two or three
symbols as digits of one number. They come column by column, as kernels ask for them; those of a grid smaller than the
footprint in raster order.

Lanes are block rows: the same word of as many neighbouring block rows as a register has lanes lies side by side,

    [panel of block rows][block column][word][block row in panel]

so that a field is one shift for all of them, and endpoints need not be spread. The last panel has as many block rows as
are left, and after the last word there are a few unused ones: whole registers are loaded.

Decoded, a weight is ``floor(base + delta * value + 1/2)`` times its row's scale, with values of 0 to 64, ``base = 257 *
(e0 - 128)`` and ``delta = 257/64 * (e1 - e0)``. All of that is exact in float32: kernels multiply what the format says.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from tvm import tirx

from tilewright.formats.codecs.astc import ise, modes, quantization
from tilewright.formats.codecs.astc.codec import ZERO, Astc
from tilewright.formats.codecs.astc.encode import Scheme, scheme_of
from tilewright.formats.codecs.astc.endpoints import LUMINANCE
from tilewright.targets.base import Device
from tilewright.targets.schedules.cpu_lookup import Lookup
from tilewright.targets.schedules.ir import i64

Array = npt.NDArray[Any]

UNIT = 257  # of 16-bit integers in one of an endpoint
ZERO_ENDPOINT = ZERO // UNIT
WORD, HEADER, END = 32, 16, 8  # bits: of a word, of both endpoints, of one
_MIX, _INFILL = 2, 3  # instructions that mix two endpoints and round, and that interpolate grid weights
_MOST_FIELD = 5  # bits of a field: 32 entries are the largest table that a permutation takes at once


@dataclass(frozen=True)
class AstcBlocks:
    """The geometry of one weight matrix.

    Attributes:
        outputs, depth: rows and columns of the matrix.
        width, height, levels: of a block, see the codec ``astc``.
        lanes: block rows in a panel.
    """

    outputs: int
    depth: int
    width: int
    height: int
    levels: int
    lanes: int

    @classmethod
    def of(cls, codec: Astc, matrix: tuple[int, int], lanes: int) -> AstcBlocks | None:
        """None where the codec does not fix the mode of its blocks."""
        if codec.scheme is None:
            return None
        return cls(*matrix, codec.width, codec.height, codec.scheme.mode.levels, lanes)

    @cached_property
    def scheme(self) -> Scheme:
        return scheme_of((self.width, self.height), self.levels)

    @property
    def block_rows(self) -> int:
        return -(-self.outputs // self.height)

    @property
    def across(self) -> int:
        """Blocks of a block row."""
        return -(-self.depth // self.width)

    @property
    def panel(self) -> int:
        """Outputs of a panel."""
        return self.lanes * self.height

    @cached_property
    def digits(self) -> int:
        """Weights in a field: the fewest of those that take the fewest words."""
        possible = [n for n in (1, 2, 3) if self._bits(n) <= _MOST_FIELD]
        return min(possible, key=lambda n: (self._words(n), n))

    @property
    def bits(self) -> int:
        """Of a field."""
        return self._bits(self.digits)

    @property
    def words(self) -> int:
        """Of a block."""
        return self._words(self.digits)

    def _bits(self, digits: int) -> int:
        return int(self.levels**digits - 1).bit_length()

    def _words(self, digits: int) -> int:
        return -(-(HEADER + -(-self.scheme.mode.weights // digits) * self._bits(digits)) // WORD)

    @property
    def panel_words(self) -> int:
        """Of a whole panel."""
        return self.lanes * self.across * self.words

    @property
    def size(self) -> int:
        """Words of the matrix, and those unused after it."""
        return self.block_rows * self.across * self.words + -self.block_rows % self.lanes

    def stride(self, outputs: int) -> int:
        """Words from one word of a block to the next, in a panel with so many outputs."""
        return -(-outputs // self.height)

    @property
    def is_whole(self) -> bool:
        """Whether weights are endpoints, so that nothing is rounded."""
        return self.levels == 2 and self.scheme.direct

    def number(self, texel: tuple[Any, Any]) -> Any:
        """Of the weight of (row, column) of a block, where each has its own."""
        row, column = texel
        return column * self.height + row

    # -- packing, in NumPy

    def pack(self, blocks: Array) -> Array | str:
        """Blocks, uint8 [block rows, block columns, 16], as int32 [size]; the reason if some are of another mode."""
        flat = blocks.reshape(-1, modes.BLOCK_BYTES)
        words, mode = ise.words_of(flat), self.scheme.mode
        header = ise.extract(words, 0, modes.ENDPOINTS_AT)
        others = np.count_nonzero(header != modes.code_of(mode) | LUMINANCE << modes.MODE_BITS + 2)
        if others:
            return f"{others} of {len(flat)} ASTC blocks are not of the mode that kernels decode"
        ends = self.scheme.endpoint_range
        endpoints = quantization.endpoint_values(ends)[ise.decode(words, modes.ENDPOINTS_AT, 2, ends)]
        symbols = ise.decode(ise.reverse(words), 0, mode.weights, mode.weight_range)
        if self.scheme.direct:  # from raster order
            order = np.arange(mode.weights).reshape(self.height, self.width).T.ravel()
            symbols = symbols[order]
        packed = np.zeros((self.words, len(flat)), np.uint64)
        _deposit(packed, 0, endpoints[0])
        _deposit(packed, END, endpoints[1])
        for field, first in enumerate(range(0, mode.weights, self.digits)):
            part = symbols[first : first + self.digits].astype(np.uint64)
            number = sum(symbol * np.uint64(self.levels**digit) for digit, symbol in enumerate(part))
            _deposit(packed, HEADER + field * self.bits, number)
        by_row = packed.astype(np.uint32).view(np.int32).reshape(self.words, *blocks.shape[:2]).transpose(1, 2, 0)
        full = len(by_row) // self.lanes * self.lanes
        panels = by_row[:full].reshape(-1, self.lanes, self.across, self.words).transpose(0, 2, 3, 1)
        parts = [panels.ravel(), by_row[full:].transpose(1, 2, 0).ravel()]
        return np.concatenate([*parts, np.zeros(self.size - sum(map(len, parts)), np.int32)])

    def lookups(self, device: Device) -> tuple[Lookup, ...]:
        """The tables of the digits of a field."""
        entries = Lookup.of(device, self.lanes, 1 << self.bits).size
        return tuple(Lookup.of(device, self.lanes, entries, digit * entries) for digit in range(self.digits))

    def table(self, device: Device) -> Array:
        """What fields stand for, float32: the tables of all digits one after the other. Bits above a field do not
        matter: tables that are smaller than a register repeat."""
        values = quantization.weight_values(self.levels).astype(np.float32)
        numbers = np.arange(self.lookups(device)[0].size) % (1 << self.bits)
        return np.concatenate([values[numbers // self.levels**digit % self.levels] for digit in range(self.digits)])

    def decoding(self, device: Device) -> float:
        """Roughly, instructions that make a register of weights of what is stored: a shift for each field, and a mask
        where tables are in memory; then what mixes."""
        lookup = self.lookups(device)[0]
        field = (1 if lookup.registers else 2) / self.digits
        return field + lookup.cost + (_MIX - self.is_whole) + (0 if self.scheme.direct else _INFILL)

    # -- decoding one weight, in TIR, for an expression that is no kernel's inner loop

    def weight(self, load: Callable[[Any], Any], table: Any, output: Any, column: Any) -> Any:
        """The weight of an output and a column, float32, in units of its row's scale.

        Args:
            load: a word of the packed matrix.
            table: of ``table``.
        """
        block_row, down = tirx.floordiv(output, self.height), tirx.floormod(output, self.height)
        block, along = tirx.floordiv(column, self.width), tirx.floormod(column, self.width)
        panel, lane = tirx.floordiv(block_row, self.lanes), tirx.floormod(block_row, self.lanes)
        full, rest = divmod(self.block_rows, self.lanes)
        stride = tirx.if_then_else(panel < full, i64(self.lanes), i64(rest or self.lanes))
        start = panel * self.panel_words + block * self.words * stride + lane
        entries = int(table.shape[0]) // self.digits

        def word(number: Any) -> Any:
            return tirx.reinterpret("uint32", load(start + number * stride))

        def value(number: Any) -> Any:
            field, digit = tirx.floordiv(number, self.digits), tirx.floormod(number, self.digits)
            at = field * self.bits + HEADER
            first, shift = tirx.floordiv(at, WORD), tirx.floormod(at, WORD).astype("uint32")
            low = word(first) >> shift
            high = tirx.if_then_else(
                shift > WORD - self.bits, word(first + 1) << (WORD - shift), tirx.const(0, "uint32")
            )
            return table[digit * entries + ((low | high) & ((1 << self.bits) - 1)).astype("int64")]

        low, high = ((load(start) >> shift) & (1 << END) - 1 for shift in (0, END))
        place = value(self.number((down, along))) if self.scheme.direct else self._infilled(value, down, along)
        mixed = low * 64 + (high - low) * place.astype("int32")
        return (((mixed * UNIT + 32) >> 6) - ZERO).astype("float32")

    def _infilled(self, value: Callable[[Any], Any], row: Any, column: Any) -> Any:
        """Khronos Data Format Specification, section "Weight Infill"."""
        grid = self.scheme.mode
        (top, down), (left, right) = (
            _between(at, texels, points)
            for at, texels, points in ((row, self.height, grid.height), (column, self.width, grid.width))
        )
        both = tirx.shift_right(down * right + 8, i64(4))
        total: Any = tirx.const(8, "int32")
        for below, beside, factor in (
            (0, 0, 16 - right - down + both), (0, 1, right - both), (1, 0, down - both), (1, 1, both),
        ):  # fmt: skip
            place = tirx.min(top + below, grid.height - 1) * grid.width + tirx.min(left + beside, grid.width - 1)
            total = total + factor.astype("int32") * value(place).astype("int32")
        return (total >> 4).astype("float32")


def _deposit(words: Array, at: int, values: Array) -> None:
    """Puts values into the words [words, blocks] from a bit upward."""
    word, shift = divmod(at, WORD)
    wide = values.astype(np.uint64) << np.uint64(shift)
    words[word] |= wide & np.uint64(0xFFFFFFFF)
    if word + 1 < len(words):
        words[word + 1] |= wide >> np.uint64(WORD)


def _between(at: Any, texels: int, points: int) -> tuple[Any, Any]:
    """The grid point below a texel, and how many sixteenths it lies above."""
    place = tirx.shift_right(at * ((1024 + texels // 2) // (texels - 1) * (points - 1)) + 32, i64(6))
    return tirx.floordiv(place, 16), tirx.floormod(place, 16)
