"""Integer sequence encoding: lengths, order of bits, and the round trip of any values in any range."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tilewright.formats.codecs.astc import ise

KINDS = st.sampled_from(ise.RANGES)


def test_ranges() -> None:
    levels = [2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 24, 32, 40, 48, 64, 80, 96, 128, 160, 192, 256]
    assert [kind.levels for kind in ise.RANGES] == levels


@pytest.mark.parametrize(
    ("levels", "count", "bits"),
    [(32, 16, 80), (24, 20, 92), (12, 25, 90), (8, 30, 90), (6, 36, 94), (5, 40, 94), (3, 60, 96), (160, 2, 15)],
)
def test_lengths(levels: int, count: int, bits: int) -> None:
    assert ise.BY_LEVELS[levels].length(count) == bits


@given(KINDS, st.integers(1, 64), st.integers(0, 40), st.integers(0, 2**32 - 1))
def test_round_trip(kind: ise.Range, count: int, offset: int, seed: int) -> None:
    count = min(count, next(n for n in range(count, 0, -1) if kind.length(n) <= 128))
    symbols = np.random.default_rng(seed).integers(0, kind.levels, (count, 9)).astype(np.uint8)
    words = ise.encode(symbols, kind)
    np.testing.assert_array_equal(ise.decode(words, 0, count, kind), symbols)
    length = kind.length(count)
    assert not ise.extract(words, length, 64).any()  # nothing lies beyond the length

    if offset + length <= 128:
        moved = np.zeros_like(words)
        for start in range(0, length, 50):
            ise.deposit(moved, offset + start, ise.extract(words, start, min(50, length - start)))
        np.testing.assert_array_equal(ise.decode(moved, offset, count, kind), symbols)


def test_order_of_bits() -> None:
    # Two values of 12 levels: a trit over two bits each. 11 is 2 over 3 and 6 is 1 over 2: T = 2 | 1 << 2 = 0b0110. The
    # specification puts m0, T[1:0], m1, T[3:2] from the lowest bit up.
    words = ise.encode(np.array([[11], [6]], np.uint8), ise.BY_LEVELS[12])
    assert words[0, 0] == 0b01_10_10_11
    # 9 is 4 over 1 and 2 is 1 over 0, of ten levels: Q = 0b0001100 has q0 = 4, q1 = 1; m0, Q[2:0], m1, Q[4:3].
    words = ise.encode(np.array([[9], [2]], np.uint8), ise.BY_LEVELS[10])
    assert words[0, 0] == 0b01_0_100_1


def test_every_digit_word_has_a_meaning() -> None:
    for base, bits, count in ((3, 8, 5), (5, 7, 3)):
        words = np.zeros((2, 1 << bits), np.uint64)
        words[0] = np.arange(1 << bits)
        digits = ise.decode(words, 0, count, ise.Range(base, 0))
        assert digits.max() == base - 1
        assert len(np.unique(digits, axis=1).T) == base**count


def test_reverse() -> None:
    words = np.random.default_rng(0).integers(0, 2**64, (2, 5), dtype=np.uint64)
    for column in words.T.tolist():
        number = column[0] | column[1] << 64
        turned = ise.reverse(np.array([[column[0]], [column[1]]], np.uint64))[:, 0].tolist()
        assert f"{turned[0] | turned[1] << 64:0128b}" == f"{number:0128b}"[::-1]
    np.testing.assert_array_equal(ise.words_of(ise.blocks_of(words)), words)
