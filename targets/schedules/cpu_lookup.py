"""Vectors out of small tables: a number in every lane becomes the entry of that number.

Tables of a few registers stay in them: a permutation takes one or two, and bits of the number select between its
results. Larger ones are gathered from the first-level cache. Measured on an AVX-512 core (Sapphire Rapids), ns for 16
lanes: 1.0 to 32 entries, 1.9 to 64, 3.4 to 128; gathering takes 6.0 and eight permutations 5.9; lane by lane 15.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tvm import tirx

from tilewright.targets.base import Device
from tilewright.targets.schedules.cpu_dot import intrinsic, splat
from tilewright.targets.schedules.ir import i64, ramp

_PERMUTE = {8: "llvm.x86.avx2.permps", 16: "llvm.x86.avx512.permvar.sf.512"}
_PERMUTE_TWO = "llvm.x86.avx512.vpermi2var.ps.512"
_REGISTERS = {8: 2, 16: 8}  # that a table may take; gathering is as fast as more


@dataclass(frozen=True)
class Lookup:
    """A table of float32 on a device.

    Attributes:
        lanes: of the vectors of numbers.
        entries: of the table.
        vectors: whether the device has the instructions; otherwise every lane is loaded by itself.
        start: of the table in its buffer.
    """

    lanes: int
    entries: int
    vectors: bool
    start: int = 0

    @classmethod
    def of(cls, device: Device, lanes: int, entries: int, start: int = 0) -> Lookup:
        return cls(lanes, entries, can_permute(device, lanes), start)

    @property
    def registers(self) -> int:
        """That hold the table; 0 where it stays in memory."""
        count = -(-self.entries // self.lanes)
        return 1 << (count - 1).bit_length() if self.vectors and count <= _REGISTERS[self.lanes] else 0

    @property
    def size(self) -> int:
        """Entries of the table as it lies in memory."""
        return max(self.registers * self.lanes, self.entries)

    @property
    def cost(self) -> float:
        """Roughly, in instructions for a vector."""
        if self.registers:
            pairs = max(1, self.registers // 2) if self.lanes == 16 else self.registers
            return 2 * pairs - 1
        return 0.75 * self.lanes if self.vectors else 3 * self.lanes

    def open(self, table: Any) -> tuple[list[Any], list[Any]]:
        """The table's registers, and statements that load them from a buffer that has ``size`` elements for it."""
        bound = [tirx.Var("entries", f"float32x{self.lanes}") for _ in range(self.registers)]
        loads = [
            tirx.BufferLoad(table, [ramp(i64(self.start + n * self.lanes), self.lanes)]) for n in range(self.registers)
        ]
        return bound, [tirx.Bind(var, load) for var, load in zip(bound, loads, strict=True)]

    def entry(self, table: Any, registers: Sequence[Any], numbers: Any) -> Any:
        """float32 entries for a vector (variable) of int32 numbers."""
        if self.registers:
            return self._permuted(registers, numbers)
        if not self.vectors:
            places = numbers + splat("int32", self.start, self.lanes) if self.start else numbers
            return tirx.BufferLoad(table, [places])
        first = tirx.address_of(tirx.BufferLoad(table, [i64(self.start)]))
        zero, size = splat("float32", 0, self.lanes), tirx.IntImm("int32", 4)
        if self.lanes == 16:
            every = tirx.Broadcast(tirx.const(True, "bool"), 16)
            return intrinsic("float32x16", "llvm.x86.avx512.mask.gather.dps.512", zero, first, numbers, every, size)
        every = tirx.reinterpret("float32x8", splat("int32", -1, 8))
        small = tirx.IntImm("int8", 4)
        return intrinsic("float32x8", "llvm.x86.avx2.gather.d.ps.256", zero, first, numbers, every, small)

    def _permuted(self, registers: Sequence[Any], numbers: Any) -> Any:
        dtype, parts, bit = f"float32x{self.lanes}", list(registers), self.lanes
        if self.lanes == 16 and len(parts) > 1:
            pairs = zip(parts[::2], parts[1::2], strict=True)
            parts, bit = [intrinsic(dtype, _PERMUTE_TWO, low, numbers, high) for low, high in pairs], 2 * bit
        else:
            parts = [permuted(part, numbers, self.lanes) for part in parts]
        while len(parts) > 1:
            set_ = tirx.NE(numbers & splat("int32", bit, self.lanes), splat("int32", 0, self.lanes))
            parts = [tirx.Select(set_, high, low) for low, high in zip(parts[::2], parts[1::2], strict=True)]
            bit *= 2
        return parts[0]


def can_permute(device: Device, lanes: int) -> bool:
    """Whether the device has instructions for vectors of so many lanes."""
    return {8: "avx2", 16: "avx512f"}.get(lanes, "") in device.facts["features"]


def permuted(vector: Any, numbers: Any, lanes: int) -> Any:
    """Lane numbers[i] of a float32 vector in each lane i, by the numbers' low bits."""
    return intrinsic(f"float32x{lanes}", _PERMUTE[lanes], vector, numbers)
