"""``f32``: weights as they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tilewright.formats.base import Encoded, Matrix
from tilewright.formats.checks import checked
from tilewright.formats.element import Element, Extents, Loads, Ops


@dataclass(frozen=True)
class F32:
    """``values``: float32 [rows, columns]. Exact."""

    @property
    def spec(self) -> str:
        return "f32"

    @property
    def symbol_bits(self) -> Mapping[str, int]:
        return {"values": 32}

    def encode(self, payload: Matrix) -> Encoded:
        values = checked(payload)
        return Encoded({"values": values}, (values.shape[0], values.shape[1]))

    def decode(self, encoded: Encoded) -> Matrix:
        return encoded.arrays["values"].copy()

    def packed_bytes(self, shape: tuple[int, int]) -> int:
        return shape[0] * shape[1] * 4

    def decoder(self, ops: Ops, loads: Loads, shape: Extents) -> Element:
        return lambda row, column: loads["values"][row * shape[1] + column]
