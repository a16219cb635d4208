"""Balanced block sparsity."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.formats.strategies import Matrix, matrices, normal
from tilewright.errors import ArtifactError, DataError, RecipeError
from tilewright.formats.layouts.block_sparse import SIDES, BlockSparse

SIDE = st.sampled_from(SIDES)
DENSITY = st.floats(0.01, 1)


@given(matrices(), SIDE, SIDE, DENSITY)
def test_round_trip_of_a_pruned_matrix(matrix: Matrix, bh: int, bw: int, density: float) -> None:
    layout = BlockSparse(bh, bw)
    rows = len(matrix)
    pruned = np.where(layout.prune(matrix, density), matrix, np.float32(0))
    kept = layout.pack(pruned)
    assert np.array_equal(layout.unpack(kept), pruned)
    index = kept.index["index"]
    assert index.dtype == np.uint16
    assert index.shape[0] == -(-rows // bh)
    assert index.shape[1] <= layout.blocks_per_row(matrix.shape, density)
    assert kept.payload.shape == (index.shape[0] * bh, index.shape[1] * bw)
    assert (np.diff(index.astype(int), axis=1) > 0).all()


@given(matrices(extreme=False), SIDE, SIDE, DENSITY)
def test_pruning_keeps_the_k_strongest_blocks_of_each_block_row(
    matrix: Matrix, bh: int, bw: int, density: float
) -> None:
    layout = BlockSparse(bh, bw)
    mask = layout.prune(matrix, density)
    k = layout.blocks_per_row(matrix.shape, density)
    assert mask.shape == matrix.shape
    for top in range(0, len(matrix), bh):  # by the definition, one block at a time
        blocks = [np.abs(matrix[top : top + bh, left : left + bw]) for left in range(0, matrix.shape[1], bw)]
        kept = [bool(mask[top : top + bh, left : left + bw].all()) for left in range(0, matrix.shape[1], bw)]
        assert sum(kept) == k
        assert mask[top : top + bh].sum() == sum(block.size for block, keep in zip(blocks, kept, strict=True) if keep)
        sums = [float(block.sum(dtype=np.float64)) for block in blocks]
        held = sum(value for value, keep in zip(sums, kept, strict=True) if keep)
        assert held == pytest.approx(sum(sorted(sums)[-k:]), rel=1e-12)


def test_density_gives_the_nearest_k() -> None:
    layout = BlockSparse(4, 4)
    assert [layout.blocks_per_row((8, 40), density) for density in (0.01, 0.14, 0.15, 0.5, 1)] == [1, 1, 2, 5, 10]
    for density in (0, -1, 1.01, np.nan):
        with pytest.raises(RecipeError, match="density"):
            layout.blocks_per_row((8, 40), density)


def test_sides_that_do_not_divide_are_padded() -> None:
    matrix = normal((5, 7))
    kept = BlockSparse(4, 4).pack(matrix)
    assert kept.payload.shape == (8, 8)
    assert kept.index["index"].tolist() == [[0, 1], [0, 1]]
    assert not kept.payload[5:].any()
    assert not kept.payload[:, 7].any()


def test_the_payload_lists_blocks_from_left_to_right() -> None:
    matrix = np.zeros((2, 6), np.float32)
    matrix[:, 2:4] = [[1, 2], [3, 4]]
    matrix[:, 4:6] = [[5, 6], [7, 8]]
    kept = BlockSparse(2, 2).pack(matrix)
    assert kept.index["index"].tolist() == [[1, 2]]
    assert kept.payload.tolist() == [[1, 2, 5, 6], [3, 4, 7, 8]]


def test_rows_with_fewer_blocks_carry_zero_blocks() -> None:
    kept = BlockSparse(1, 1).pack(np.array([[0, 0, 1, 1], [0, 1, 0, 0], [0, 0, 0, 0]], np.float32))
    assert kept.index["index"].tolist() == [[2, 3], [0, 1], [0, 1]]
    assert kept.payload.tolist() == [[1, 1], [0, 1], [0, 0]]


def test_equal_blocks_are_kept_from_the_left() -> None:
    assert BlockSparse(1, 2).prune(np.ones((1, 8), np.float32), 0.5).tolist() == [[True] * 4 + [False] * 4]


def test_the_index_is_16_bits() -> None:
    wide = np.zeros((1, 65537), np.float32)
    wide[0, 65535] = 1
    with pytest.raises(DataError, match="65537 blocks in a row"):
        BlockSparse(1, 1).pack(wide)
    kept = BlockSparse(1, 1).pack(wide[:, :65536])
    assert kept.index["index"].tolist() == [[65535]]
    assert BlockSparse(1, 1).unpack(kept)[0, 65535] == 1


def test_other_sides_are_refused() -> None:
    with pytest.raises(ValueError, match="bw is 3"):
        BlockSparse(4, 3)


def test_damaged_indices_are_refused() -> None:
    layout = BlockSparse(2, 2)
    kept = layout.pack(normal((4, 8)))
    far = dataclasses.replace(kept, index={"index": kept.index["index"] + np.uint16(1)})
    with pytest.raises(ArtifactError, match="block column 4 of 4"):
        layout.unpack(far)
    with pytest.raises(ArtifactError, match="do not make up a matrix"):
        layout.unpack(dataclasses.replace(kept, shape=(4, 8), payload=kept.payload[:, :6]))
    with pytest.raises(ArtifactError, match="do not make up a matrix"):
        layout.unpack(dataclasses.replace(kept, shape=(6, 8)))
