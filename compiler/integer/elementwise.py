"""Elementwise operators on quantized tensors, which broadcast as in NumPy.

Sources: TFLite, kernels/{add,sub,mul}.cc (Prepare) and kernels/internal/reference/integer_ops/{add,mul}.h, sub.h,
leaky_relu.h, requantize.h, kernels/elementwise.cc (abs).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tilewright.integer.rounding import Int, Requantize, Rounding, multiply, quantize_multiplier, scale_shift


@dataclass(frozen=True)
class Affine:
    """How integers stand for real numbers: ``scale * (q - zero)``. Scales are float32 values."""

    scale: float
    zero: int
    dtype: str


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
    spare = 20 if np.dtype(out.dtype).itemsize == 1 else 15
    most = 2 * max(a_type.scale, b_type.scale)
    first = _to_common(a, a_type, most, spare)
    second = _to_common(b, b_type, most, spare)
    output = Requantize.of(most / (2**spare * out.scale), out.zero, out.dtype, clamp=clamp)
    return output(first + sign * second)


def _to_common(values: Int, affine: Affine, scale: float, spare: int) -> Int:
    factor, shift = quantize_multiplier(affine.scale / scale)
    return multiply((values.astype(np.int64) - affine.zero) << spare, factor, 31 - shift)


def mul(a: Int, a_type: Affine, b: Int, b_type: Affine, out: Affine, clamp: tuple[int, int] | None = None) -> Int:
    """``a * b``. The scale is computed in float32, as TFLite does. See add."""
    scale = np.float32(a_type.scale) * np.float32(b_type.scale) / np.float32(out.scale)
    product = (a.astype(np.int64) - a_type.zero) * (b.astype(np.int64) - b_type.zero)
    return Requantize.of(scale, out.zero, out.dtype, clamp=clamp)(product)


def requantize(x: Int, x_type: Affine, out: Affine) -> Int:
    """The same number in another scale, zero point or type."""
    return Requantize.of(x_type.scale / out.scale, out.zero, out.dtype)(x.astype(np.int64) - x_type.zero)


def absolute(x: Int, x_type: Affine, out: Affine) -> Int:
    """``|x|``."""
    scale = float(np.float32(x_type.scale) / np.float32(out.scale))
    return Requantize.of(scale, out.zero, out.dtype)(np.abs(x.astype(np.int64) - x_type.zero))


def leaky_relu(x: Int, x_type: Affine, alpha: float, out: Affine) -> Int:
    """``x``, negative values times alpha."""
    values = x.astype(np.int64) - x_type.zero
    positive = Requantize.of(x_type.scale / out.scale, out.zero, out.dtype)
    negative = Requantize.of(x_type.scale * float(np.float32(alpha)) / out.scale, out.zero, out.dtype)
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
