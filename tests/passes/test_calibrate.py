"""Ranges by every method, on distributions whose best range is known or can be found by trying all."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.passes.support import parse
from tilewright.errors import DataError, RecipeError
from tilewright.passes.calibrate import Method, Statistics, collect
from tilewright.passes.fake_quantize import BITS, fit
from tilewright.passes.histogram import Histogram

METHODS: tuple[Method, ...] = ("minmax", "percentile", "mse", "kl")


def statistics(*arrays: np.ndarray) -> Statistics:
    histogram = Histogram()
    for array in arrays:
        histogram.add(array)
    return Statistics({"t": histogram}, len(arrays))


def error(x: np.ndarray, ends: tuple[float, float], bits: int) -> float:
    return float(np.mean(np.square(fit(*ends, bits).apply(x) - x, dtype=np.float64)))


def laplace(count: int = 20000) -> np.ndarray:
    return np.random.default_rng(0).laplace(size=count).astype(np.float32)


@given(st.sampled_from(METHODS), st.sampled_from(BITS), st.integers(0, 50), st.floats(-5, 5), st.floats(1e-3, 1e3))
@settings(max_examples=30, deadline=None)
def test_every_range_lies_within_the_values(method: Method, bits: int, seed: int, shift: float, scale: float) -> None:
    x = ((np.random.default_rng(seed).standard_normal(300) + shift) * scale).astype(np.float32)
    low, high = statistics(x).range("t", method, bits)
    assert min(x.min(), 0) <= low <= high <= max(x.max(), 0)


@pytest.mark.parametrize("bits", [4, 6, 8, 12])
@pytest.mark.parametrize("one_sided", [False, True])
def test_mse_is_within_two_percent_of_a_full_scan(bits: int, one_sided: bool) -> None:
    x = np.abs(laplace()) if one_sided else laplace() * np.where(laplace() > 0, 1, 0.3).astype(np.float32)
    low, high = statistics(x).range("t", "mse", bits)
    steps = np.linspace(0.05, 1, 96)
    lows = [0.0] if one_sided else x.min() * steps[::4]
    scan = min(error(x, (a, x.max() * b), bits) for a in lows for b in steps)
    assert error(x, (low, high), bits) <= 1.02 * scan  # the scan's own steps are 1 to 4 % wide
    # what a search over bins finds may lose to the whole range by the bins' width
    assert error(x, (low, high), bits) <= 1.001 * error(x, (x.min(), x.max()), bits)


def test_percentiles_are_numpys() -> None:
    x = laplace(100000)
    seen = statistics(x[:50000], x[50000:])
    low, high = seen.range("t", "percentile", 8, percentile=99.0)
    width = float(np.abs(x).max()) / 4096  # of a bin, at most
    assert low == pytest.approx(np.percentile(x, 0.5), abs=2 * width)
    assert high == pytest.approx(np.percentile(x, 99.5), abs=2 * width)
    assert seen.range("t", "percentile", 8, percentile=100) == (x.min(), x.max())


def test_kl_cuts_a_long_tail_and_keeps_an_even_distribution() -> None:
    tail = np.concatenate([laplace(), np.array([100.0, -90.0], np.float32)])
    low, high = statistics(tail).range("t", "kl", 8)
    assert -30 < low < -5
    assert 5 < high < 30
    even = np.linspace(0, 1, 100000, dtype=np.float32)
    # an even distribution loses mass with every bin that is cut off
    assert statistics(even).range("t", "kl", 8)[1] > 0.97
    assert statistics(tail).range("t", "kl", 12) == (-90.0, 100.0)


def test_kl_does_not_count_zeros() -> None:
    x = np.abs(laplace())
    assert statistics(x, np.zeros(10**6, np.float32)).range("t", "kl", 8)[1] == statistics(x).range("t", "kl", 8)[1]


@pytest.mark.parametrize("method", METHODS)
def test_zeros_alone_have_the_empty_range(method: Method) -> None:
    assert statistics(np.zeros(5, np.float32)).range("t", method, 8) == (0.0, 0.0)


def test_the_float_graph_is_run_over_all_feeds() -> None:
    model = parse("g (float[3] x) => (float[3] y, int64[1] s) { a = Neg(x)  y = Relu(a)  s = Shape(x) }")
    feeds = [{"x": np.array([1, 2, 3], np.float32)}, {"x": np.array([-4, 0, 1], np.float32)}]
    found = collect(model, feeds, ["x", "a", "y", "s"])
    assert found.feeds == 2
    assert set(found.histograms) == {"x", "a", "y"}  # integers have no range
    assert found.ranges("minmax", 8) == {"x": (-4, 3), "a": (-3, 4), "y": (0, 4)}


def test_what_cannot_be_asked() -> None:
    model = parse("g (float[3] x) => (float[3] y) { y = Relu(x) }")
    with pytest.raises(DataError, match="no calibration data"):
        collect(model, [], ["x"])
    seen = statistics(np.full(3, np.nan, np.float32))
    with pytest.raises(DataError, match="no finite value of 't'"):
        seen.range("t", "minmax", 8)
    with pytest.raises(DataError, match="'u'"):
        seen.range("u", "minmax", 8)
    assert seen.ranges("minmax", 8) == {}
    with pytest.raises(RecipeError, match="'average' is unknown; there are minmax"):
        seen.range("t", "average", 8)  # type: ignore[arg-type]
    with pytest.raises(RecipeError, match="percentile is 0"):
        seen.range("t", "percentile", 8, percentile=0)
