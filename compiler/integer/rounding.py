"""Rounding, saturation and requantization.

Sources: gemmlowp, fixedpoint/fixedpoint.h (SaturatingRoundingDoublingHighMul, RoundingDivideByPOT); TFLite,
kernels/internal/common.h and quantization_util.cc (MultiplyByQuantizedMultiplier, QuantizeMultiplier); Vela, scaling.py
and api.py (scale and shift of Ethos-U, NpuRoundingMode).
"""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Int = NDArray[np.int64]


class Rounding(enum.Enum):
    """How ``value * factor / 2^shift`` becomes an integer; values are Ethos-U's register codes.

    TFL rounds twice, as TFLite does: halves up at 31 bits, then halves away from zero for the rest. NATURAL rounds
    halves up once. TRUNCATE rounds towards zero.
    """

    TFL = 0
    TRUNCATE = 1
    NATURAL = 2


def round_up_shift(values: ArrayLike, shift: ArrayLike) -> Int:
    """``values / 2^shift``, halves up (towards positive infinity)."""
    return _round_up_shift(np.asarray(values, np.int64), np.asarray(shift, np.int64))


def round_away_shift(values: ArrayLike, shift: ArrayLike) -> Int:
    """``values / 2^shift``, halves away from zero: gemmlowp's RoundingDivideByPOT."""
    given = np.asarray(values, np.int64)
    result: Int = np.sign(given) * round_up_shift(np.abs(given), shift)
    return result


def _round_up_shift(values: Int, shift: Int) -> Int:
    return (values + _half(shift)) >> shift


def _half(shift: Int) -> Int:
    return np.where(shift > 0, np.int64(1) << np.maximum(shift - 1, 0), 0)


def scale_shift(values: ArrayLike, factor: ArrayLike, shift: ArrayLike, rounding: Rounding) -> Int:
    """``values * factor / 2^shift``, exact until rounded.

    Args:
        values: of up to 46 bits.
        factor: unsigned, of up to 32 bits.
        shift: 0 to 63; with less than 16, products must fit 63 bits.
        rounding: see Rounding.
    """
    given, factors, shifts = (np.asarray(array, np.int64) for array in (values, factor, shift))
    if rounding is Rounding.TRUNCATE:
        size = _floor_shift(np.abs(given), factors, shifts, 0)
        return np.where(given < 0, -size, size)
    first = shifts if rounding is Rounding.NATURAL else np.minimum(shifts, 31)
    result = _floor_shift(given, factors, first, _half(first))
    return result if rounding is Rounding.NATURAL else round_away_shift(result, shifts - first)


def _floor_shift(values: Int, factor: Int, shift: Int, addend: Int | int) -> Int:
    """``(values * factor + addend) >> shift`` with products of more than 63 bits: 16 bits of values at a time."""
    low, high = values & 0xFFFF, values >> 16
    wide = (high * factor + ((low * factor + addend) >> 16)) >> np.maximum(shift - 16, 0)
    return np.where(shift >= 16, wide, (values * factor + addend) >> np.minimum(shift, 16))


def high_mul(a: ArrayLike, b: ArrayLike) -> Int:
    """gemmlowp's SaturatingRoundingDoublingHighMul of two int32: ``a * b / 2^31``, halves up, saturated."""
    product = np.asarray(a, np.int64) * np.asarray(b, np.int64)
    return np.minimum(round_up_shift(product, 31), 2**31 - 1)


def multiply(values: ArrayLike, multiplier: ArrayLike, exponent: ArrayLike) -> Int:
    """TFLite's MultiplyByQuantizedMultiplier for int32: ``values * multiplier * 2^(exponent - 31)``, rounded twice."""
    return scale_shift(values, multiplier, 31 - np.asarray(exponent, np.int64), Rounding.TFL)


def quantize_multiplier(real: float) -> tuple[int, int]:
    """Factor and shift of a positive real number: ``factor / 2^shift`` with 2^30 <= factor < 2^31.

    TFLite's QuantizeMultiplier has ``exponent = 31 - shift``. What is below 2^-32 becomes (0, 16).

    Raises:
        ValueError: real is negative, not finite, or at least 2^31.
    """
    if not math.isfinite(real) or real < 0 or real >= 2**31:
        raise ValueError(f"{real} is no scale")
    significand, exponent = math.frexp(real)
    factor, shift = math.floor(significand * 2**31 + 0.5), 31 - exponent
    if factor == 2**31:
        factor, shift = factor // 2, shift - 1
    return (factor, shift) if shift < 64 else (0, 16)


def reduced_multiplier(real: float) -> tuple[int, int]:
    """The same with a factor of 16 bits: what TFLite multiplies 64-bit accumulators with, rounding NATURAL."""
    factor, shift = quantize_multiplier(real)
    if shift < 16:
        raise ValueError(f"{real} is too large a scale for 16 bits")
    return (factor + 2**15 >> 16 if factor < 32767 << 16 else 32767), shift - 16


def reciprocal(count: int) -> tuple[int, int]:
    """Factor and shift that divide by a count.

    Slightly more than 1 / count, so that NATURAL rounds halves away from zero: Vela's quantise_pooling_scale.
    """
    bits = (count - 1).bit_length()
    return (2 ** (31 + bits) + 2**bits) // count, 31 + bits


def limits(dtype: str, bits: int | None = None) -> tuple[int, int]:
    """The least and the greatest value of an integer type, e.g. ``int8``, or of fewer bits of its sign."""
    info = np.iinfo(dtype)
    depth = info.bits if bits is None else bits
    low = -(1 << depth - 1) if info.min < 0 else 0
    return low, low + (1 << depth) - 1


@dataclass(frozen=True)
class Requantize:
    """From accumulators to values of the output type.

    Attributes:
        factor: of each channel, or one.
        shift: likewise.
        rounding: of the product.
        zero: the output's zero point.
        low: least value: of the type, or of a fused activation.
        high: greatest value.
    """

    factor: Int
    shift: Int
    rounding: Rounding
    zero: int
    low: int
    high: int

    @staticmethod
    def of(
        reals: ArrayLike,
        zero: int,
        dtype: str,
        rounding: Rounding = Rounding.TFL,
        clamp: tuple[int, int] | None = None,
        reduced: bool = False,
        bits: int | None = None,
    ) -> Requantize:
        """For scales as real numbers, one or one for each channel: input scale * weight scale / output scale.

        Args:
            reals: shape () or (channels,).
            zero: the output's zero point.
            dtype: the output's type.
            rounding: of the product.
            clamp: bounds of a fused activation, in the output's type.
            reduced: factors of 16 bits.
            bits: the output's depth where it is less than its type's.
        """
        convert = reduced_multiplier if reduced else quantize_multiplier
        pairs = np.array([convert(float(real)) for real in np.atleast_1d(np.asarray(reals, np.float64))], np.int64)
        low, high = limits(dtype, bits)
        if clamp is not None:
            low, high = max(low, clamp[0]), min(high, clamp[1])
        return Requantize(pairs[:, 0], pairs[:, 1], rounding, zero, low, high)

    def __call__(self, accumulators: Int) -> Int:
        """Values; channels are the last axis."""
        return self.finish(scale_shift(accumulators, self.factor, self.shift, self.rounding))

    def finish(self, scaled: Int) -> Int:
        """The last two steps: offset and saturation."""
        return np.clip(scaled + self.zero, self.low, self.high)
