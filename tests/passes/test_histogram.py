"""A histogram that rescales itself equals NumPy's over all data at once."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tilewright.passes.histogram import COUNTED, SIDE, Histogram


@given(scales=st.lists(st.floats(1e-9, 1e9), min_size=1, max_size=5), seed=st.integers(0, 9))
def test_bins_equal_those_of_all_data_at_once(scales: list[float], seed: int) -> None:
    rng = np.random.default_rng(seed)
    parts = [(rng.standard_normal(500) * scale).astype(np.float32) for scale in scales]
    found = Histogram()
    for part in parts:
        found.add(part.reshape(5, 100))
    data = np.concatenate(parts).astype(np.float64)
    edges = (np.arange(2 * SIDE + 1) - SIDE) * found.width
    np.testing.assert_array_equal(found.counts, np.histogram(data, edges)[0])
    assert found.total == data.size
    assert (found.minimum, found.maximum) == (data.min(), data.max())
    assert np.abs(data).max() >= SIDE // 2 * found.width  # at least half of the bins are in use
    points, counts = found.points()
    assert (np.diff(points) > 0).all()
    # float64 sums in another order, means rounded to float32
    np.testing.assert_allclose(points @ counts, data.sum(), rtol=1e-6, atol=1e-6 * np.abs(data).sum())


def test_zeros_before_and_after_other_values() -> None:
    found = Histogram()
    found.add(np.zeros(7, np.float32))
    assert (found.total, found.zeros, found.minimum, found.maximum) == (7, 7, 0.0, 0.0)
    assert [array.tolist() for array in found.points()] == [[0.0], [7.0]]
    found.add(np.array([1.0, 0.0, -2.0], np.float32))
    assert (found.total, found.zeros) == (10, 8)
    points, counts = found.points()
    assert dict(zip(points.tolist(), counts.tolist(), strict=True)) == {-2.0: 1, 0.0: 8, 1.0: 1}


def test_what_is_not_finite_is_counted_apart() -> None:
    found = Histogram()
    found.add(np.array([np.nan, np.inf, -np.inf], np.float32))
    assert (found.nonfinite, found.total) == (3, 0)
    found.add(np.array([np.nan, 4.0], np.float32))
    assert (found.nonfinite, found.total, found.minimum, found.maximum) == (4, 1, 4.0, 4.0)


def test_extremes_of_float32() -> None:
    found = Histogram()
    info = np.finfo(np.float32)
    found.add(np.array([info.smallest_subnormal, -info.tiny], np.float32))
    found.add(np.array([info.max, info.min], np.float32))
    assert found.total == 4
    assert found.maximum == info.max


def test_of_a_large_array_a_part_is_counted_but_no_extreme_is_missed() -> None:
    x = np.random.default_rng(0).standard_normal((1000, 512)).astype(np.float32)
    found = Histogram()
    for place in (3, 999):
        x[place, 5], x[place, 7] = 40 + place, -50 - place
        found.add(x)
    assert (found.minimum, found.maximum) == (-1049, 1039)
    assert COUNTED < found.total <= 2 * COUNTED
    points, counts = found.points()
    near = counts[np.abs(points) < 1].sum() / found.total
    assert abs(near - 0.6827) < 0.005  # of a normal distribution; 3 standard errors of 100,000 samples


def test_an_empty_array_changes_nothing() -> None:
    found = Histogram()
    found.add(np.zeros((0, 3), np.float32))
    assert found.total == 0
