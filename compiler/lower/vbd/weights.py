"""The weights' region of a stream: weights, biases, scales and tables, one after another without padding."""

from __future__ import annotations

import struct

import numpy as np
from numpy.typing import NDArray

from tilewright.formats.bits import pack_rows
from tilewright.integer.rounding import Int, Requantize

SCALE_BYTES = 5
_MOST_BIAS_BYTES = 6


class Weights:
    """The region's contents, layer after layer. Each method appends something and returns its address."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def __len__(self) -> int:
        return len(self._bytes)

    def data(self) -> bytes:
        """All of it."""
        return bytes(self._bytes)

    def integers(self, values: NDArray[np.integer], bits: int) -> int:
        """Integers of a depth, in C order; negative ones in two's complement."""
        symbols = (values.astype(np.int64) & (1 << bits) - 1).astype(np.uint16).reshape(1, -1)
        return self._append(pack_rows(symbols, [bits]).tobytes())

    def biases(self, biases: Int) -> tuple[int, int]:
        """Address, and bytes of each: as few as all need."""
        each = bias_bytes(biases)
        return self._append(b"".join(int(bias).to_bytes(each, "little", signed=True) for bias in biases)), each

    def scales(self, output: Requantize) -> tuple[int, int]:
        """Address, and how many there are: a factor of 32 bits and a shift of 8 each."""
        pairs = zip(output.factor.tolist(), output.shift.tolist(), strict=True)
        return self._append(b"".join(struct.pack("<IB", *pair) for pair in pairs)), len(output.factor)

    def _append(self, data: bytes) -> int:
        address = len(self._bytes)
        self._bytes += data
        return address


def bias_bytes(biases: Int) -> int:
    """Bytes that hold every bias.

    Raises:
        ValueError: one needs more than 48 bits.
    """
    most = max((int(bias) if bias >= 0 else ~int(bias)).bit_length() for bias in biases) + 1
    each = -(-most // 8)
    if each > _MOST_BIAS_BYTES:
        raise ValueError(f"a bias has {most} bits, more than {8 * _MOST_BIAS_BYTES}")
    return each
