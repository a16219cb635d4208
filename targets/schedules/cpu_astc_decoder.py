"""Vectors of ASTC weights: one place in the blocks of a panel, decoded by a shift and a table."""

from __future__ import annotations

from typing import Any

import numpy as np
from tvm import tirx

from tilewright.formats.codecs.astc import infill
from tilewright.targets.base import Device
from tilewright.targets.schedules.cpu_astc_blocks import END, HEADER, UNIT, WORD, ZERO_ENDPOINT, AstcBlocks
from tilewright.targets.schedules.cpu_dot import splat
from tilewright.targets.schedules.cpu_math import ROUNDER
from tilewright.targets.schedules.ir import Statements, ramp

# The format rounds halves upward, ROUNDER to even numbers. So delta is a bit more than it should be, and a product by
# it above a half where it would be one, by less than the 1/64 to the next; also if it is rounded itself.
_UPWARD = 2.0**-13


class AstcDecoder:
    """Decodes block after block of a panel. Every method returns statements to be executed before what it gives."""

    def __init__(self, blocks: AstcBlocks, device: Device, words: Any, table: Any, start: Any, stride: int) -> None:
        """
        Args:
            words, table: buffers of ``AstcBlocks.pack`` and ``AstcBlocks.table``.
            start: of the panel in them, in words.
            stride: see ``AstcBlocks.stride``.
        """
        self.blocks, self.words, self.table, self.start, self.stride = blocks, words, table, start, stride
        self.lookups = blocks.lookups(device)
        self._base: Any = None
        self._delta: Any = None
        self._registers: list[list[Any]] = []
        self._words: list[Any] = []
        self._fields: dict[int, Any] = {}
        self._values: dict[int, Any] = {}

    def open(self) -> list[Any]:
        """At the start of a tile."""
        opened = [lookup.open(self.table) for lookup in self.lookups]
        self._registers = [registers for registers, _ in opened]
        return [statement for _, statements in opened for statement in statements]

    def open_block(self, number: Any) -> list[Any]:
        """At the start of the block in a block column."""
        b, made = self.blocks, Statements()
        self._fields, self._values = {}, {}
        first = made.bind("first", self.start + number * (b.words * self.stride))
        self._words = []
        for word in range(b.words):
            load = tirx.BufferLoad(self.words, [ramp(first + word * self.stride, b.lanes)])
            self._words.append(made.bind("word", load))
        low, high = (
            made.bind("end", self._shifted(self._words[0], shift) & self._ints((1 << END) - 1)) for shift in (0, END)
        )
        base = (low - self._ints(ZERO_ENDPOINT)).astype(self._float) * self._floats(UNIT)
        delta = (high - low).astype(self._float) * self._floats(UNIT / 64)
        whole = b.is_whole
        self._base = made.bind("base", base if whole else base + self._floats(ROUNDER))
        self._delta = made.bind("delta", delta if whole else delta + self._floats(_UPWARD))
        return made.made

    def weight(self, row: int, column: int) -> tuple[Any, list[Any]]:
        """The weight of a place in the open block, in units of its row's scale, float32."""
        made = Statements()
        found = made.bind("mixed", self._base + self._delta * self._value(row, column, made))
        return (found if self.blocks.is_whole else made.bind("w", found - self._floats(ROUNDER))), made.made

    def _value(self, row: int, column: int, made: Statements) -> Any:
        """0 to 64."""
        b = self.blocks
        if b.scheme.direct:
            return self._stored(b.number((row, column)), made)
        grid = b.scheme.mode
        factors = infill.matrix((b.width, b.height), (grid.width, grid.height))[row * b.width + column]
        total = self._floats(0.5)
        for number in np.flatnonzero(factors):
            total = total + self._stored(int(number), made) * self._floats(float(factors[number]) / 16)
        return made.bind("value", tirx.floor(total))

    @property
    def _float(self) -> str:
        return f"float32x{self.blocks.lanes}"

    def _ints(self, value: int) -> Any:
        return splat("int32", value, self.blocks.lanes)

    def _floats(self, value: float) -> Any:
        return splat("float32", value, self.blocks.lanes)

    def _shifted(self, word: Any, count: int) -> Any:
        return word >> self._ints(count) if count else word

    def _stored(self, number: int, made: Statements) -> Any:
        """What one of the stored symbols stands for."""
        field, digit = divmod(number, self.blocks.digits)
        if field not in self._fields:
            self._fields[field] = made.bind("field", self._field(field))
        if number not in self._values:
            entry = self.lookups[digit].entry(self.table, self._registers[digit], self._fields[field])
            self._values[number] = made.bind("stored", entry)
        return self._values[number]

    def _field(self, field: int) -> Any:
        """A field in the low bits of int32. What is above does not matter to tables in registers."""
        b = self.blocks
        word, shift = divmod(HEADER + field * b.bits, WORD)
        found = self._shifted(self._words[word], shift)
        if shift + b.bits > WORD:
            unsigned = f"uint32x{b.lanes}"
            low = tirx.reinterpret(unsigned, self._words[word]) >> splat("uint32", shift, b.lanes)
            high = tirx.reinterpret(unsigned, self._words[word + 1]) << splat("uint32", WORD - shift, b.lanes)
            found = tirx.reinterpret(f"int32x{b.lanes}", low | high)
        return found if self.lookups[0].registers else found & self._ints((1 << b.bits) - 1)
