"""The weights' region, decoded as runtime/NNA.md describes it: bit by bit."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tilewright.integer.depths import DEPTHS
from tilewright.integer.rounding import Requantize
from tilewright.lower.vbd.weights import SCALE_BYTES, Weights, bias_bytes


def bits_of(data: bytes, first: int, count: int) -> int:
    """The integer whose lowest bit is the stream's bit ``first``."""
    return sum((data[place // 8] >> place % 8 & 1) << place - first for place in range(first, first + count))


@given(st.sampled_from(DEPTHS), st.integers(0, 2**32 - 1), st.integers(1, 40))
def test_integers_follow_each_other_without_padding(depth: int, seed: int, count: int) -> None:
    half = 1 << depth - 1
    values = np.random.default_rng(seed).integers(-half, half, count)
    weights = Weights()
    assert weights.integers(values, depth) == 0
    data = weights.data()
    assert len(data) == -(-count * depth // 8) == len(weights)
    symbols = [bits_of(data, place * depth, depth) for place in range(count)]
    assert [symbol - (symbol >= half) * 2 * half for symbol in symbols] == values.tolist()
    used = count * depth
    assert bits_of(data, used, 8 * len(data) - used) == 0


def test_biases_have_as_few_bytes_as_they_need() -> None:
    weights = Weights()
    weights.integers(np.zeros(3, np.int64), 5)
    address, each = weights.biases(np.array([-129, 5, 127]))
    assert (address, each) == (2, 2)
    data = weights.data()
    assert [int.from_bytes(data[2 + 2 * i : 4 + 2 * i], "little", signed=True) for i in range(3)] == [-129, 5, 127]
    assert bias_bytes(np.array([-128, 127])) == 1
    assert bias_bytes(np.array([1 << 46])) == 6
    with pytest.raises(ValueError, match="a bias has 49 bits"):
        bias_bytes(np.array([1 << 47]))


def test_scales_are_factors_and_shifts() -> None:
    weights = Weights()
    output = Requantize.of([0.25, 0.1, 1e-6], 0, "uint8")
    assert weights.scales(output) == (0, 3)
    data = weights.data()
    assert len(data) == 3 * SCALE_BYTES
    assert [struct.unpack_from("<IB", data, SCALE_BYTES * i) for i in range(3)] == list(
        zip(output.factor.tolist(), output.shift.tolist(), strict=True)
    )
    assert struct.unpack_from("<IB", data) == (1 << 30, 32)  # a power of two
