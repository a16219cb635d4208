"""The permutation search: properties that always hold, and its quality on planted and on random matrices."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tilewright.passes.permutation_search import Pivot, pivot_blocks, pivot_two_four


def kept_by_blocks(matrix: npt.NDArray[np.floating], block: tuple[int, int], k: int) -> float:
    """Reference: the k largest blocks of each block row, summed with plain loops."""
    bh, bw = block
    total = 0.0
    for i in range(0, matrix.shape[0], bh):
        sums = [np.abs(matrix[i : i + bh, j : j + bw]).sum() for j in range(0, matrix.shape[1], bw)]
        total += sum(sorted(sums)[-k:])
    return total


def unstructured(matrix: npt.NDArray[np.floating], density: float) -> float:
    magnitudes = np.sort(np.abs(matrix), axis=None)
    return float(magnitudes[-round(density * magnitudes.size) :].sum())


def check(pivot: Pivot, matrix: npt.NDArray[np.floating], block: tuple[int, int], k: int) -> None:
    assert sorted(pivot.rows) == list(range(matrix.shape[0]))
    assert sorted(pivot.columns) == list(range(matrix.shape[1]))
    permuted = matrix[pivot.rows][:, pivot.columns]
    # relative 1e-5: sums of up to 10^4 floats of single precision
    assert pivot.kept == pytest.approx(kept_by_blocks(permuted, block, k), rel=1e-5)
    assert pivot.unpivoted == pytest.approx(kept_by_blocks(matrix, block, k), rel=1e-5)
    assert pivot.kept >= pivot.unpivoted


@settings(deadline=None, max_examples=30)
@given(
    st.tuples(st.integers(1, 24), st.integers(1, 24)),
    st.tuples(st.sampled_from([1, 2, 4, 8]), st.sampled_from([1, 2, 4, 8])),
    st.data(),
)
def test_bijections_that_never_lose(shape: tuple[int, int], block: tuple[int, int], data: st.DataObject) -> None:
    k = data.draw(st.integers(1, -(-shape[1] // block[1])))
    matrix = np.random.default_rng(data.draw(st.integers(0, 9))).standard_normal(shape)
    check(pivot_blocks(matrix, block, k, escapes=1), matrix, block, k)


def test_taps_share_their_permutations() -> None:
    """A convolution's taps are blocks of the same block row: kept magnitude by plain loops."""
    taps = np.random.default_rng(4).standard_normal((9, 16, 24))
    pivot = pivot_blocks(taps, (4, 8), 5)
    permuted = taps[:, pivot.rows][:, :, pivot.columns]
    side_by_side = np.concatenate(list(permuted), axis=1)
    assert pivot.kept == pytest.approx(kept_by_blocks(side_by_side, (4, 8), 5), rel=1e-5)
    assert pivot.kept > pivot.unpivoted


def test_rows_stay_where_they_may_not_move() -> None:
    matrix = np.random.default_rng(0).standard_normal((32, 48))
    pivot = pivot_blocks(matrix, (4, 4), 2, permute_rows=False)
    assert (pivot.rows == np.arange(32)).all()
    check(pivot, matrix, (4, 4), 2)


def planted(shape: tuple[int, int], block: tuple[int, int], k: int, noise: float) -> npt.NDArray[np.float64]:
    """Blocks of N(0,1) on N(0, noise^2), rows and columns shuffled."""
    rng = np.random.default_rng(1)
    bh, bw = block
    matrix = noise * rng.standard_normal(shape)
    for i in range(shape[0] // bh):
        for j in rng.choice(shape[1] // bw, k, replace=False):
            matrix[i * bh : (i + 1) * bh, j * bw : (j + 1) * bw] += rng.standard_normal(block)
    return matrix[rng.permutation(shape[0])][:, rng.permutation(shape[1])]


@pytest.mark.parametrize(("block", "noise"), [((4, 4), 0.1), ((4, 4), 0.3), ((8, 1), 0.3), ((16, 4), 0.3)])
def test_planted_structure_is_found_at_least_halfway(block: tuple[int, int], noise: float) -> None:
    """Bar: halfway between unpivoted and unstructured pruning at 90 % zeros."""
    k = round(0.1 * 256 / block[1])
    matrix = planted((256, 256), block, k, noise)
    pivot = pivot_blocks(matrix, block, k)
    top = unstructured(matrix, k * block[1] / 256)
    assert pivot.kept >= (pivot.unpivoted + top) / 2


def test_random_matrix_gains() -> None:
    """Without any structure to find, choice alone must gain something: 5 % on 256x256 Gaussians, measured 10 %."""
    matrix = np.random.default_rng(2).standard_normal((256, 256))
    pivot = pivot_blocks(matrix, (4, 4), 6)
    assert pivot.kept > 1.05 * pivot.unpivoted


def test_same_seed_same_result() -> None:
    matrix = np.random.default_rng(3).standard_normal((64, 64))
    first, second = pivot_blocks(matrix, (4, 4), 3), pivot_blocks(matrix, (4, 4), 3)
    assert (first.rows == second.rows).all()
    assert (first.columns == second.columns).all()


@pytest.mark.parametrize("seed", range(3))
def test_two_four_reaches_the_published_searches(seed: int) -> None:
    """Pool and Yu (2021), 64x128 uniform: plain 2852, greedy 2913, stripe groups of twelve 2922, of 4083 in all."""
    matrix = np.random.default_rng(seed).uniform(-1, 1, (64, 128))
    pivot = pivot_two_four(matrix)
    scale = 4083 / np.abs(matrix).sum()
    assert sorted(pivot.columns) == list(range(128))
    assert pivot.unpivoted * scale == pytest.approx(2852, rel=0.01)  # the draw differs, by under 1 %
    assert pivot.kept * scale >= 2920


def test_two_four_needs_whole_stripes() -> None:
    with pytest.raises(ValueError, match="multiple of 4"):
        pivot_two_four(np.ones((4, 6)))


def test_two_four_of_one_stripe_is_left_alone() -> None:
    pivot = pivot_two_four(np.random.default_rng(0).standard_normal((8, 4)))
    assert pivot.kept == pivot.unpivoted
