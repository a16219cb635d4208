"""What every format refuses."""

from __future__ import annotations

import numpy as np
import pytest

from tilewright.errors import DataError
from tilewright.formats.checks import checked, half


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_weights_must_be_finite(bad: float) -> None:
    matrix = np.zeros((3, 4), np.float32)
    matrix[1, 2] = bad
    with pytest.raises(DataError, match="1 of 12 weights are NaN or infinite, the first at row 1, column 2"):
        checked(matrix)


@pytest.mark.parametrize("shape", [(3,), (0, 4), (4, 0), (1, 2, 3)])
def test_a_matrix_has_rows_and_columns(shape: tuple[int, ...]) -> None:
    with pytest.raises(DataError, match="rows and columns"):
        checked(np.zeros(shape, np.float32))


def test_other_orders_and_dtypes_become_contiguous_float32() -> None:
    matrix = checked(np.asfortranarray(np.arange(6.0).reshape(2, 3)))
    assert matrix.dtype == np.float32
    assert matrix.flags.c_contiguous
    assert matrix.tolist() == [[0, 1, 2], [3, 4, 5]]


@pytest.mark.parametrize("largest", [65520.0, 6e-5])
def test_fp16_holds_neither_the_huge_nor_the_tiny(largest: float) -> None:
    with pytest.raises(DataError, match=r"outside fp16 .* use f32"):
        half(np.array([0.0, -largest]), "weights", "use f32")


def test_fp16_takes_zeros_and_small_values_beside_large_ones() -> None:
    assert half(np.array([0.0]), "weights", "").tolist() == [0]
    assert half(np.array([1e-9, 65504.0]), "weights", "").tolist() == [0, 65504]
