"""Minimal filtering in NumPy against the convolution that it stands for."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tilewright.targets.schedules import winograd
from tilewright.targets.schedules.winograd import from_points, in_both_directions, operations, to_points, transforms

SIZES = [(2, 3), (4, 3), (2, 5)]


def add(total, coefficient, value):  # type: ignore[no-untyped-def]
    return coefficient * value if total is None else total + coefficient * value


@pytest.mark.parametrize(("outputs", "taps"), SIZES)
@given(seed=st.integers(0, 1000))
def test_the_matrices_are_exact(outputs: int, taps: int, seed: int) -> None:
    """In fractions; float32 holds A' and B' as they are, and of G the nearest."""
    t = transforms(outputs, taps)
    rng = np.random.default_rng(seed)
    data = [Fraction(int(value)) for value in rng.integers(-9, 10, t.size)]
    taken = [Fraction(int(value)) for value in rng.integers(-9, 10, taps)]
    points = [Fraction(point) for point in winograd._POINTS[t.size]]
    weights = []
    for at, point in enumerate(points):
        others = [point - other for place, other in enumerate(points) if place != at]
        scale = math.prod(others, start=Fraction(1))
        weights.append(sum(tap * point**power for power, tap in enumerate(taken)) / scale)
    weights.append(taken[-1])
    moved = [sum((Fraction(float(c)) * v for c, v in zip(row, data, strict=True)), Fraction(0)) for row in t.data]
    products = [a * b for a, b in zip(weights, moved, strict=True)]
    for row, at in zip(t.result, range(outputs), strict=True):
        got = sum((Fraction(float(c)) * v for c, v in zip(row, products, strict=True)), Fraction(0))
        assert got == sum(tap * data[at + place] for place, tap in enumerate(taken))


@pytest.mark.parametrize(("outputs", "taps"), SIZES)
def test_shared_sums_are_the_matrices(outputs: int, taps: int) -> None:
    """Tolerance: float64 sums of up to 36 terms."""
    t, rng = transforms(outputs, taps), np.random.default_rng(0)
    for step, matrix in ((to_points, t.data), (to_points, t.weights), (from_points, t.result)):
        tile = rng.standard_normal((matrix.shape[1],) * 2)
        got = np.array(in_both_directions(step, matrix, list(tile.ravel()), add))
        wanted = matrix.astype(np.float64) @ tile @ matrix.T
        np.testing.assert_allclose(got, wanted.ravel(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("outputs", "taps"), SIZES)
def test_sharing_saves_a_third_of_the_operations_at_least(outputs: int, taps: int) -> None:
    t = transforms(outputs, taps)
    for step, matrix in ((to_points, t.data), (from_points, t.result)):
        plain = (2 * np.count_nonzero(matrix) - len(matrix)) * sum(matrix.shape)
        assert 0 < operations(step, matrix) <= 2 / 3 * plain


@pytest.mark.parametrize(("outputs", "taps"), SIZES)
def test_loses_little_beside_the_direct_sum(outputs: int, taps: int) -> None:
    """A layer of 64 channels in float32. The direct sum of as many terms loses 3e-7 to 6e-7 of the result's norm; the
    points 1 and 2 would lose four times as much as is allowed here."""
    t, rng, channels = transforms(outputs, taps), np.random.default_rng(0), 64
    data = np.maximum(rng.standard_normal((t.size, t.size, 32, channels)), 0).astype(np.float32)
    weights = rng.standard_normal((taps, taps, channels, 16)).astype(np.float32)
    wanted = np.zeros((outputs, outputs, 32, 16))
    for i in range(outputs):
        for j in range(outputs):
            for y in range(taps):
                for x in range(taps):
                    wanted[i, j] += data[i + y, j + x].astype(np.float64) @ weights[y, x]

    def moved(step, matrix, tile):  # type: ignore[no-untyped-def]
        shape = tile.shape[2:]
        found = in_both_directions(step, matrix, list(tile.reshape(-1, *shape)), float32_add)
        return np.array(found, np.float32).reshape(len(matrix), len(matrix), *shape)

    def float32_add(total, coefficient, value):  # type: ignore[no-untyped-def]
        return add(total, np.float32(coefficient), value)

    at_points, weights_there = moved(to_points, t.data, data), moved(to_points, t.weights, weights)
    products = np.zeros((t.size, t.size, 32, 16), np.float32)
    for channel in range(channels):
        products += at_points[..., channel, None] * weights_there[:, :, None, channel]
    got = moved(from_points, t.result, products)
    assert np.linalg.norm(got - wanted) <= 1e-6 * np.linalg.norm(wanted)
