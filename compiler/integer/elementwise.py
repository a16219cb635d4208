"""Elementwise operators on quantized tensors, which broadcast as in NumPy.

Sources: TFLite, kernels/{add,sub,mul}.cc (Prepare) and kernels/internal/reference/integer_ops/{add,mul}.h, sub.h,
leaky_relu.h, requantize.h, kernels/elementwise.cc (abs).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from tilewright.integer.rounding import Int, Requantize, Rounding, limits, multiply, quantize_multiplier, scale_shift


@dataclass(frozen=True)
class Affine:
    """How integers stand for real numbers: ``scale * (q - zero)``.

    Attributes:
        scale: a float32 value; a power of two where integers have an exponent alone.
        zero: the integer that stands for zero.
        dtype: the type that holds the integers outside of an accelerator, e.g. ``uint8``.
        bits: their depth; 0 is that of the type. Integers saturate at the depth, with the type's sign.
    """

    scale: float
    zero: int
    dtype: str
    bits: int = 0

    def __post_init__(self) -> None:
        most = np.iinfo(self.dtype).bits
        if not 0 <= self.bits <= most:
            raise ValueError(f"{self.dtype} holds no {self.bits} bits")
        object.__setattr__(self, "bits", self.bits or most)

    @property
    def limits(self) -> tuple[int, int]:
        """The least and the greatest integer."""
        return limits(self.dtype, self.bits)

    @property
    def symmetric(self) -> bool:
        """Whether integers have a sign and no zero point."""
        return self.zero == 0 and self.limits[0] < 0

    def requantize(self, reals: ArrayLike, clamp: tuple[int, int] | None = None, reduced: bool = False) -> Requantize:
        """From accumulators: ``reals`` is what their unit is worth in these integers, one or one for each channel.

        ``reduced`` is for sums of 16-bit integers, which TFLite multiplies with 16 bits and rounds once
        (kernels/internal/common.h, MultiplyByQuantizedMultiplier of int64).
        """
        rounding = Rounding.NATURAL if reduced else Rounding.TFL
        return Requantize.of(reals, self.zero, self.dtype, rounding, clamp, reduced, self.bits)


@dataclass(frozen=True)
class Sum:
    """``a + b`` or ``a - b``: both operands in units of twice the larger scale, with ``spare`` more bits.

    Attributes:
        spare: 20 where no operand and no result has more than 8 bits, else 15.
        factors: of the first and the second operand, ``(factor, shift)``.
        sign: of the second operand, 1 or -1.
        output: from the sum to the result.
    """

    spare: int
    factors: tuple[tuple[int, int], tuple[int, int]]
    sign: int
    output: Requantize

    @staticmethod
    def of(a: Affine, b: Affine, out: Affine, sign: int, clamp: tuple[int, int] | None = None) -> Sum:
        """For operands and a result of these types; see add."""
        spare = 20 if max(a.bits, b.bits, out.bits) <= 8 else 15
        most = 2 * max(a.scale, b.scale)
        factors = quantize_multiplier(a.scale / most), quantize_multiplier(b.scale / most)
        return Sum(spare, factors, sign, out.requantize(most / (2**spare * out.scale), clamp))

    def __call__(self, a: Int, b: Int) -> Int:
        """Of integers without their zero points."""
        (first, second), spare = self.factors, self.spare
        scaled = multiply(a << spare, first[0], 31 - first[1]), multiply(b << spare, second[0], 31 - second[1])
        return self.output(scaled[0] + self.sign * scaled[1])


def add(a: Int, a_type: Affine, b: Int, b_type: Affine, out: Affine, clamp: tuple[int, int] | None = None) -> Int:
    """``a + b``, in twice the larger of both scales with 20 (int8) or 15 bits (int16) to spare.

    Args:
        a: quantized, of type ``a_type``; likewise b.
        a_type: how integers stand for numbers; likewise b_type.
        b: see a.
        b_type: see a_type.
        out: the output's.
        clamp: bounds of a fused activation, in the output's type.
    """
    return _add(a, a_type, b, b_type, out, clamp, 1)


def subtract(a: Int, a_type: Affine, b: Int, b_type: Affine, out: Affine, clamp: tuple[int, int] | None = None) -> Int:
    """``a - b``, likewise."""
    return _add(a, a_type, b, b_type, out, clamp, -1)


def _add(a: Int, a_type: Affine, b: Int, b_type: Affine, out: Affine, clamp: tuple[int, int] | None, sign: int) -> Int:
    both = a.astype(np.int64) - a_type.zero, b.astype(np.int64) - b_type.zero
    return Sum.of(a_type, b_type, out, sign, clamp)(*both)


def mul(a: Int, a_type: Affine, b: Int, b_type: Affine, out: Affine, clamp: tuple[int, int] | None = None) -> Int:
    """``a * b``. The scale is computed in float32, as TFLite does. See add."""
    product = (a.astype(np.int64) - a_type.zero) * (b.astype(np.int64) - b_type.zero)
    return product_scale(a_type, b_type, out, clamp)(product)


def product_scale(a: Affine, b: Affine, out: Affine, clamp: tuple[int, int] | None = None) -> Requantize:
    """From products of integers without their zero points to the result."""
    return out.requantize(np.float32(a.scale) * np.float32(b.scale) / np.float32(out.scale), clamp)


def requantize(x: Int, x_type: Affine, out: Affine) -> Int:
    """The same number in another scale, zero point or type."""
    return out.requantize(x_type.scale / out.scale)(x.astype(np.int64) - x_type.zero)


def absolute(x: Int, x_type: Affine, out: Affine) -> Int:
    """``|x|``."""
    scale = float(np.float32(x_type.scale) / np.float32(out.scale))
    return out.requantize(scale)(np.abs(x.astype(np.int64) - x_type.zero))


def leaky_relu(x: Int, x_type: Affine, alpha: float, out: Affine) -> Int:
    """``x``, negative values times alpha."""
    values = x.astype(np.int64) - x_type.zero
    positive = out.requantize(x_type.scale / out.scale)
    negative = out.requantize(x_type.scale * float(np.float32(alpha)) / out.scale)
    return np.where(values >= 0, positive(values), negative(values))


def shift_right(x: Int, shift: Int, rounding: Rounding) -> Int:
    """``x / 2^shift`` of 32-bit integers."""
    return scale_shift(x, 1, shift, rounding)


def leading_zeros(x: Int) -> Int:
    """Zero bits before the first one of 32-bit integers."""
    bits = np.zeros(x.shape, np.int64)
    unsigned = x.astype(np.int64) & 0xFFFFFFFF
    for step in (16, 8, 4, 2, 1):
        above = unsigned >= 1 << step
        bits += np.where(above, step, 0)
        unsigned = np.where(above, unsigned >> step, unsigned)
    return 32 - bits - (unsigned > 0)
