"""``f16``: IEEE half precision, rounded to nearest even."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from tilewright.formats.base import Encoded, Matrix
from tilewright.formats.checks import checked, half
from tilewright.formats.element import Element, Extents, Loads, Ops


@dataclass(frozen=True)
class F16:
    """``values``: float16 [rows, columns].

    Weights far below the tensor's largest may become subnormal or zero; their error stays below 2**-25.
    """

    @property
    def spec(self) -> str:
        return "f16"

    @property
    def symbol_bits(self) -> Mapping[str, int]:
        return {"values": 16}

    def encode(self, payload: Matrix) -> Encoded:
        """Rounds.

        Raises:
            DataError: NaN, infinity, or a largest magnitude outside fp16's normal range.
        """
        values = half(checked(payload), "weights", "keep this layer in f32")
        return Encoded({"values": values}, (values.shape[0], values.shape[1]))

    def decode(self, encoded: Encoded) -> Matrix:
        return encoded.arrays["values"].astype(np.float32)

    def packed_bytes(self, shape: tuple[int, int]) -> int:
        return shape[0] * shape[1] * 2

    def decoder(self, ops: Ops, loads: Loads, shape: Extents) -> Element:
        return lambda row, column: loads["values"][row * shape[1] + column]
