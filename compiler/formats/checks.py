"""Checks that every format makes of its input."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tilewright.errors import DataError
from tilewright.formats.base import Matrix


def checked(matrix: npt.ArrayLike) -> Matrix:
    """The matrix as contiguous float32 [rows, columns].

    Raises:
        DataError: not two-dimensional, no element, or NaN or infinity in it.
    """
    array = np.ascontiguousarray(matrix, np.float32)
    if array.ndim != 2 or not array.size:
        raise DataError(f"a weight matrix has rows and columns, this one has shape {list(array.shape)}")
    # The sum of absolute values could overflow; minimum and maximum cannot, and NaN passes through both.
    if not (np.isfinite(array.min()) and np.isfinite(array.max())):
        bad = ~np.isfinite(array)
        row, column = np.argwhere(bad)[0]
        raise DataError(
            f"{np.count_nonzero(bad)} of {array.size} weights are NaN or infinite, the first at row {row}, "
            f"column {column}; compress a model with finite weights"
        )
    return array


def half(values: npt.NDArray[np.floating], what: str, remedy: str, least: float = 2.0**-14) -> npt.NDArray[np.float16]:
    """Rounds to fp16.

    Raises:
        DataError: the largest magnitude is above fp16's or below ``least`` (its least normal number), so that the
            whole tensor would be lost.
    """
    largest = float(np.abs(values).max(initial=0.0))
    if largest > 65504 or 0 < largest < least:
        raise DataError(f"the largest of the {what} is {largest:.3g}, outside fp16 ({least:.2g} to 65504); {remedy}")
    return values.astype(np.float16)
