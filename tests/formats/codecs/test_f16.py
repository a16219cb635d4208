"""Half precision."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given

from tests.formats.strategies import Matrix, matrices
from tilewright.errors import DataError
from tilewright.formats.codecs.f16 import F16


@given(matrices(extreme=False))
def test_round_trip_is_within_half_a_unit(matrix: Matrix) -> None:
    encoded = F16().encode(matrix)
    assert encoded.nbytes == F16().packed_bytes(encoded.shape) == 2 * matrix.size
    # Rounding to nearest: 11 significant bits, or multiples of 2**-24 below 2**-14.
    assert (np.abs(F16().decode(encoded) - matrix) <= np.maximum(np.abs(matrix) * 2.0**-11, 2.0**-25)).all()


@pytest.mark.parametrize("largest", [1e5, 1e-6])
def test_a_tensor_outside_the_range_is_refused(largest: float) -> None:
    with pytest.raises(DataError, match="keep this layer in f32"):
        F16().encode(np.array([[0, largest]], np.float32))
