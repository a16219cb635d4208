"""The dense layout."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given

from tests.formats.strategies import Matrix, matrices
from tilewright.errors import RecipeError
from tilewright.formats.layouts.dense import Dense


@given(matrices())
def test_round_trip(matrix: Matrix) -> None:
    kept = Dense().pack(matrix)
    assert not kept.index
    assert np.array_equal(Dense().unpack(kept), matrix)


def test_prunes_nothing() -> None:
    assert Dense().prune(np.ones((2, 3), np.float32), 1).all()
    with pytest.raises(RecipeError, match=r"density 0\.5 needs block_sparse"):
        Dense().prune(np.ones((2, 3), np.float32), 0.5)
