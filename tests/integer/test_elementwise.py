"""Elementwise operators against LiteRT's reference kernels. Tolerance 0: both are integer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tilewright.integer import elementwise
from tilewright.integer.rounding import Rounding

from .oracle import Builder, affine, layers, run

BINARY: dict[str, Callable[..., Any]] = {
    "ADD": elementwise.add,
    "SUB": elementwise.subtract,
    "MUL": elementwise.mul,
}


@pytest.mark.parametrize("kind", sorted(BINARY))
@pytest.mark.parametrize("dtype", ["int8", "int16"])
@pytest.mark.parametrize("scales", [(0.05, 0.03), (0.02, 0.02), (0.001, 0.07)])
def test_binary(kind: str, dtype: str, scales: tuple[float, float]) -> None:
    """Every pair of int8 values; int16 at random. Equal and unequal scales, a fused RELU, broadcasting."""
    b = Builder(8)
    unit = 1 if dtype == "int8" else 1 / 64
    x = b.input((1, 256, 1, 3), dtype, scales[0] * unit)
    y = b.input((1, 1, 256, 1), dtype, scales[1] * unit, -9)
    z = layers.binary(b, kind, x, y, layers.RELU)
    (first, second), (want,) = run(b, z)
    if dtype == "int8":
        first[...] = np.arange(-128, 128).reshape(1, 256, 1, 1)
        second[...] = np.arange(-128, 128).reshape(1, 1, 256, 1)
        (want,) = rerun(b, z, [first, second])
    got = BINARY[kind](first, affine(x), second, affine(y), affine(z), (z.zero, 2**31))
    np.testing.assert_array_equal(got, want)


def rerun(b: Builder, output: Any, inputs: list[Any]) -> list[Any]:
    from benchmarks.nna.litert import Reference

    return Reference(b.finish(output)).run(inputs)


def test_requantize_and_absolute() -> None:
    b = Builder(9)
    x = b.input((1, 4, 4, 300), scale=0.05)
    outputs = [
        layers.unary(b, "QUANTIZE", x, 0.07, -20, QuantizeOptions={}),
        layers.unary(b, "QUANTIZE", x, 0.03, 12, QuantizeOptions={}),
        layers.unary(b, "ABS", x, 0.04, -128, AbsOptions={}),
    ]
    (given_,), wants = run(b, *outputs)
    for function, output, want in zip(
        (elementwise.requantize, elementwise.requantize, elementwise.absolute), outputs, wants, strict=True
    ):
        np.testing.assert_array_equal(function(given_, affine(x), affine(output)), want)


@pytest.mark.parametrize("dtype", ["int8", "int16"])
def test_leaky_relu(dtype: str) -> None:
    b = Builder(10)
    x = b.input((1, 4, 4, 300), dtype)
    y = layers.unary(b, "LEAKY_RELU", x, 0.043, 5 if dtype == "int8" else 0, LeakyReluOptions={"alpha": 0.13})
    (given_,), (want,) = run(b, y)
    np.testing.assert_array_equal(elementwise.leaky_relu(given_, affine(x), 0.13, affine(y)), want)


@given(st.integers(-(2**31), 2**31 - 1))
def test_leading_zeros(value: int) -> None:
    want = 32 - (value % 2**32).bit_length()
    assert elementwise.leading_zeros(np.array([value])).item() == want


def test_shift_right_rounds() -> None:
    x = np.array([-3, -2, -1, 1, 2, 3])
    assert elementwise.shift_right(x, np.int64(1), Rounding.NATURAL).tolist() == [-1, -1, 0, 1, 1, 2]
