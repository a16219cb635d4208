"""float32."""

from __future__ import annotations

import numpy as np
from hypothesis import given

from tests.formats.strategies import Matrix, matrices
from tilewright.formats.codecs.f32 import F32


@given(matrices())
def test_round_trip_is_exact(matrix: Matrix) -> None:
    encoded = F32().encode(matrix)
    assert encoded.nbytes == F32().packed_bytes(encoded.shape) == 4 * matrix.size
    assert np.array_equal(F32().decode(encoded), matrix)
