"""Rounding against Python's unbounded integers and fractions."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tilewright.integer import rounding
from tilewright.integer.rounding import Requantize, Rounding

values = st.integers(-(2**45), 2**45)
factors = st.integers(0, 2**32 - 1)


def half_up(value: Fraction) -> int:
    return math.floor(value + Fraction(1, 2))


def half_away(value: Fraction) -> int:
    return half_up(value) if value >= 0 else -half_up(-value)


@given(values, factors, st.integers(16, 63), st.sampled_from(Rounding))
def test_scale_shift_is_exact(value: int, factor: int, shift: int, mode: Rounding) -> None:
    exact = Fraction(value * factor, 2**shift)
    want = {
        Rounding.NATURAL: half_up(exact),
        Rounding.TRUNCATE: math.trunc(exact),
        Rounding.TFL: half_away(Fraction(half_up(exact * 2 ** max(shift - 31, 0)), 2 ** max(shift - 31, 0))),
    }[mode]
    assert rounding.scale_shift(value, factor, shift, mode) == want


@given(st.integers(-(2**30), 2**30), st.integers(0, 15), st.sampled_from(Rounding))
def test_small_shifts(value: int, shift: int, mode: Rounding) -> None:
    exact = Fraction(value * 77, 2**shift)
    want = math.trunc(exact) if mode is Rounding.TRUNCATE else half_up(exact)
    assert rounding.scale_shift(value, 77, shift, mode) == want


@given(st.integers(-(2**31), 2**31 - 1), st.integers(-(2**31), 2**31 - 1))
def test_high_mul_is_gemmlowps(a: int, b: int) -> None:
    """The definition of gemmlowp: a nudge by the product's sign, division towards zero, saturation."""
    product = a * b
    nudge = 2**30 if product >= 0 else 1 - 2**30
    want = 2**31 - 1 if a == b == -(2**31) else int(Fraction(product + nudge, 2**31))
    assert rounding.high_mul(a, b) == want


@given(st.integers(-(2**31), 2**31 - 1), st.integers(0, 31))
def test_round_away_is_gemmlowps_divide_by_pot(value: int, shift: int) -> None:
    mask = (1 << shift) - 1
    want = (value >> shift) + int((value & mask) > (mask >> 1) + (value < 0))
    assert rounding.round_away_shift(value, shift) == want


@given(st.integers(-(2**31), 2**31 - 1), st.integers(2**30, 2**31 - 1), st.integers(-31, 0))
def test_multiply_is_two_roundings(value: int, multiplier: int, exponent: int) -> None:
    want = rounding.round_away_shift(rounding.high_mul(value, multiplier), -exponent)
    assert rounding.multiply(value, multiplier, exponent) == want


@given(st.floats(1e-9, 1e6))
def test_quantized_multipliers_are_close(real: float) -> None:
    factor, shift = rounding.quantize_multiplier(real)
    assert 2**30 <= factor < 2**31
    assert abs(Fraction(factor, 2**shift) / Fraction(real) - 1) <= Fraction(1, 2**31)


def test_quantized_multipliers_at_the_ends() -> None:
    assert rounding.quantize_multiplier(0.5) == (2**30, 31)
    assert rounding.quantize_multiplier(1 - 2**-40) == (2**30, 30)  # rounds to 2^31, which has no 31 bits
    assert rounding.quantize_multiplier(1e-30) == (0, 16)
    for real in (-1.0, math.nan, math.inf, 2.0**31):
        with pytest.raises(ValueError, match="no scale"):
            rounding.quantize_multiplier(real)


@given(st.integers(1, 65536), st.integers(-(2**15), 2**15 - 1))
def test_reciprocals_divide_with_halves_away_from_zero(count: int, mean: int) -> None:
    factor, shift = rounding.reciprocal(count)
    for total in (mean * count, mean * count + count // 2, mean * count - count // 2):
        want = half_away(Fraction(total, count))
        assert rounding.scale_shift(total, factor, shift, Rounding.NATURAL) == want


def test_requantize_has_a_scale_for_each_channel() -> None:
    output = Requantize.of([0.5, 0.25], 3, "int8", clamp=(3, 1000))
    assert output(np.array([[10, 10], [-10, 1000]])).tolist() == [[8, 6], [3, 127]]
