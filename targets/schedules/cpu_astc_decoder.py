"""Vectors of ASTC weights: one place in the blocks of a panel, decoded by a shift and a table."""

from __future__ import annotations

from typing import Any

import numpy as np
from tvm import tirx

from tilewright.formats.codecs.astc import infill
from tilewright.targets.base import Device
from tilewright.targets.schedules.cpu_astc_blocks import END, HEADER, WORD, ZERO_ENDPOINT, AstcBlocks
from tilewright.targets.schedules.cpu_dot import splat
from tilewright.targets.schedules.ir import Statements, ramp


class AstcDecoder:
    """Decodes block after block of a panel. Every method returns statements to be executed before what it gives.

    Attributes:
        base, delta: of the open block, float32 of as many lanes as there are block rows.
    """

    def __init__(self, blocks: AstcBlocks, device: Device, values: Any, table: Any, start: Any, stride: int) -> None:
        """
        Args:
            values, table: buffers of ``AstcBlocks.pack`` and ``AstcBlocks.table``.
            start: of the panel in them, in words.
            stride: see ``AstcBlocks.stride``.
        """
        self.blocks, self.values, self.table, self.start, self.stride = blocks, values, table, start, stride
        self.lookups = blocks.lookups(device)
        self.base: Any = None
        self.delta: Any = None
        self._registers: list[list[Any]] = []
        self._words: list[Any] = []
        self._fields: dict[int, Any] = {}
        self._weights: dict[int, Any] = {}

    def open(self) -> list[Any]:
        """At the start of a tile."""
        opened = [lookup.open(self.table) for lookup in self.lookups]
        self._registers = [registers for registers, _ in opened]
        return [statement for _, statements in opened for statement in statements]

    def open_block(self, number: Any) -> list[Any]:
        """At the start of the block in a block column."""
        b, made = self.blocks, Statements()
        self._fields, self._weights = {}, {}
        first = made.bind("first", self.start + number * (b.words * self.stride))
        self._words = []
        for word in range(b.words):
            load = tirx.BufferLoad(self.values, [ramp(first + word * self.stride, b.lanes)])
            self._words.append(made.bind("word", load))
        low, high = (
            made.bind("end", self._shifted(self._words[0], shift) & self._ints((1 << END) - 1)) for shift in (0, END)
        )
        self.base = made.bind("base", (low - self._ints(ZERO_ENDPOINT)).astype(self._float))
        step = splat("float32", 1 / 64, b.lanes)
        self.delta = made.bind("delta", (high - low).astype(self._float) * step)
        return made.made

    def value(self, row: int, column: int) -> tuple[Any, list[Any]]:
        """The weight of a place in the open block, 0 to 64 in float32."""
        b, made = self.blocks, Statements()
        if b.scheme.direct:
            return self._weight(b.number((row, column)), made), made.made
        grid = b.scheme.mode
        factors = infill.matrix((b.width, b.height), (grid.width, grid.height))[row * b.width + column]
        total = splat("float32", 0.5, b.lanes)
        for number in np.flatnonzero(factors):
            factor = splat("float32", float(factors[number]) / 16, b.lanes)
            total = total + self._weight(int(number), made) * factor
        return made.bind("w", tirx.floor(total)), made.made

    @property
    def _float(self) -> str:
        return f"float32x{self.blocks.lanes}"

    def _ints(self, value: int) -> Any:
        return splat("int32", value, self.blocks.lanes)

    def _shifted(self, word: Any, count: int) -> Any:
        return word >> self._ints(count) if count else word

    def _weight(self, number: int, made: Statements) -> Any:
        """A weight of the grid."""
        field, digit = divmod(number, self.blocks.digits)
        if field not in self._fields:
            self._fields[field] = made.bind("field", self._field(field))
        if number not in self._weights:
            entry = self.lookups[digit].entry(self.table, self._registers[digit], self._fields[field])
            self._weights[number] = made.bind("w", entry)
        return self._weights[number]

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
