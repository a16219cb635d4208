"""The search for scales."""

from __future__ import annotations

import numpy as np
import pytest

from tests.formats.strategies import normal
from tilewright.formats.clipping import Quantiser, Search, weighted_points


def error(x: np.ndarray, quantiser: Quantiser) -> np.ndarray:
    return np.square(quantiser.integers(x) * quantiser.scale - x).sum(axis=1)


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
@pytest.mark.parametrize(("length", "wide"), [(32, False), (128, False), (2048, True)])
def test_close_to_a_dense_scan(bits: int, length: int, wide: bool) -> None:
    x = normal((64, length))
    found = error(x, Search(bits, False, not wide, "mse", wide).fit(x, lambda scale: scale)).sum()
    half = 2 ** (bits - 1)
    top, bottom = x.max(axis=1, keepdims=True), x.min(axis=1, keepdims=True)
    longer = np.where(top > -bottom, -top, -bottom) if not wide else np.maximum(top, -bottom)
    scan = [
        error(x, Quantiser(longer * np.float32(step / half), np.full_like(top, -half), np.full_like(top, half - 1)))
        for step in np.arange(0.2, 1.2, 0.01) * (half / (half - 1) if wide else 1)
    ]
    # 0.1 dB above the best scale of every group on a grid of 1 %; at 8 bits the error of a short group depends more on
    # how its values happen to round than on the range, and a denser grid finds better luck.
    assert found <= np.min(scan, axis=0).sum() * 10 ** ((0.3 if bits == 8 else 0.1) / 10)


def test_scales_are_chosen_as_they_will_be_stored() -> None:
    x = normal((16, 32))
    quantiser = Search(4, False, True, "mse", False).fit(x, lambda scale: scale.astype(np.float16).astype(np.float32))
    assert np.array_equal(quantiser.scale, quantiser.scale.astype(np.float16).astype(np.float32))


def test_points_stand_for_a_long_vector() -> None:
    flat = normal((1, 100_000))[0]
    points, counts = weighted_points(flat)
    assert counts.sum() == flat.size
    ordered = np.sort(points[0])
    above = np.searchsorted(ordered, flat)
    distances = [np.abs(ordered[np.clip(above - side, 0, ordered.size - 1)] - flat) for side in (0, 1)]
    assert (np.minimum(*distances) <= np.abs(flat) * 2.0**-11).all()
    assert float((points[0] * counts).sum()) == pytest.approx(float(flat.sum(dtype=np.float64)), abs=1e-2)


def test_repeated_values_are_points_exactly() -> None:
    points, counts = weighted_points(np.array([0.3, -0.7, 0.3, 0.0, 0.3], np.float32))
    assert dict(zip(points[0].tolist(), counts.tolist(), strict=True)) == {
        float(np.float32(0.3)): 3,
        float(np.float32(-0.7)): 1,
        0.0: 1,
    }
