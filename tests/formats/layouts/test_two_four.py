"""Two of four."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given

from tests.formats.strategies import Matrix, matrices, normal
from tilewright.errors import ArtifactError, DataError, RecipeError
from tilewright.formats.layouts.two_four import TwoFour


@given(matrices())
def test_round_trip_of_a_pruned_matrix(matrix: Matrix) -> None:
    layout = TwoFour()
    rows, columns = matrix.shape
    pruned = np.where(layout.prune(matrix, 0.5), matrix, np.float32(0))
    kept = layout.pack(pruned)
    groups = -(-columns // 4)
    assert kept.payload.shape == (rows, 2 * groups)
    assert kept.index["index"].nbytes == -(-rows * groups // 2)
    assert np.array_equal(layout.unpack(kept), pruned)


@given(matrices())
def test_pruning_keeps_the_two_largest_of_four(matrix: Matrix) -> None:
    mask = TwoFour().prune(matrix, 0.5)
    for left in range(0, matrix.shape[1], 4):
        group = np.abs(matrix[:, left : left + 4])
        kept = np.sort(np.where(mask[:, left : left + 4], group, 0), axis=1)[:, -2:]
        assert np.array_equal(kept, np.sort(group, axis=1)[:, -2:])
        assert (mask[:, left : left + 4].sum(axis=1) <= 2).all()


def test_positions_lie_in_nibbles() -> None:
    kept = TwoFour().pack(np.array([[0, 1, 0, 2, 3, 0, 4, 0], [0, 0, 0, 0, 0, 0, 5, 0]], np.float32))
    assert kept.payload.tolist() == [[1, 2, 3, 4], [0, 0, 0, 5]]
    # Groups: (1, 3), (0, 2), (0, 1), (0, 2).
    assert kept.index["index"].tolist() == [(1 | 3 << 2) | (0 | 2 << 2) << 4, (0 | 1 << 2) | (0 | 2 << 2) << 4]


def test_crowded_groups_are_refused() -> None:
    matrix = np.zeros((2, 8), np.float32)
    matrix[1, 4:7] = 1
    with pytest.raises(DataError, match="1 of 4 groups hold more than two weights, the first at row 1, columns 4 to 7"):
        TwoFour().pack(matrix)


def test_half_is_the_only_density() -> None:
    with pytest.raises(RecipeError, match=r"density is 0\.4"):
        TwoFour().prune(normal((2, 8)), 0.4)


def test_damaged_indices_are_refused() -> None:
    kept = TwoFour().pack(np.eye(4, dtype=np.float32))
    with pytest.raises(ArtifactError, match="do not ascend"):
        TwoFour().unpack(dataclasses.replace(kept, index={"index": np.zeros(2, np.uint8)}))
    with pytest.raises(ArtifactError, match="not of a matrix"):
        TwoFour().unpack(dataclasses.replace(kept, shape=(4, 12)))
