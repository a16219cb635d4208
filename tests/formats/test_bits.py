"""Bit packing against a bit-by-bit reference."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tilewright.formats.bits import pack_bits, pack_rows, packed_nbytes, signed, unpack_bits, unpack_rows


def stream(symbols: list[int], depths: list[int]) -> bytes:
    """One bit after the other, as the docstring of bits.py says."""
    bits = [symbol >> place & 1 for symbol, depth in zip(symbols, depths, strict=True) for place in range(depth)]
    bits += [0] * (-len(bits) % 8)
    return bytes(sum(bit << place for place, bit in enumerate(bits[i : i + 8])) for i in range(0, len(bits), 8))


@given(bits=st.integers(1, 8), count=st.integers(0, 70), seed=st.integers(0, 99))
def test_symbols_lie_one_after_the_other(bits: int, count: int, seed: int) -> None:
    symbols = np.random.default_rng(seed).integers(0, 1 << bits, count, np.uint8)
    packed = pack_bits(symbols, bits)
    assert packed.dtype == np.uint8
    assert packed.nbytes == packed_nbytes(count, bits)
    assert packed.tobytes() == stream(symbols.tolist(), [bits] * count)
    assert np.array_equal(unpack_bits(packed, bits, count), symbols)


@given(data=st.data(), columns=st.integers(1, 30), seed=st.integers(0, 99))
def test_rows_have_their_own_depths(data: st.DataObject, columns: int, seed: int) -> None:
    depths = data.draw(st.lists(st.integers(0, 16), min_size=1, max_size=12))
    rng = np.random.default_rng(seed)
    symbols = np.stack([rng.integers(0, 1 << depth, columns, np.uint16) for depth in depths])
    packed = pack_rows(symbols, depths)
    assert packed.tobytes() == stream(symbols.ravel().tolist(), [depth for depth in depths for _ in range(columns)])
    assert np.array_equal(unpack_rows(packed, depths, columns), symbols)


def test_rows_larger_than_a_chunk_join_without_a_gap() -> None:
    depths = [3, 5, 7] * 3
    symbols = np.random.default_rng(0).integers(0, 8, (9, 300_001), np.uint16)
    assert np.array_equal(unpack_rows(pack_rows(symbols, depths), depths, 300_001), symbols)


def test_four_bits_are_nibbles_low_first_and_three_bits_fill_words() -> None:
    assert pack_bits(np.array([1, 2, 3], np.uint8), 4).tobytes() == b"\x21\x03"
    words = pack_bits(np.arange(32, dtype=np.uint8) & 7, 3).view("<u4")
    assert words.shape == (3,)
    assert words[0] & 7 == 0
    assert words[0] >> 27 & 7 == 1  # the ninth symbol


@pytest.mark.parametrize("bits", range(1, 17))
def test_signed_is_twos_complement(bits: int) -> None:
    values = np.array([-(1 << bits - 1), -1 if bits > 1 else 0, 0, (1 << bits - 1) - 1], np.int16)
    symbols = values.astype(np.uint16) & np.uint16((1 << bits) - 1)
    assert np.array_equal(signed(symbols, bits), values)


def test_short_data_is_an_error() -> None:
    with pytest.raises(ValueError, match="do not hold"):
        unpack_bits(np.zeros(2, np.uint8), 3, 6)
    with pytest.raises(ValueError, match="do not hold"):
        unpack_rows(np.zeros(1, np.uint8), [4, 5], 1)
