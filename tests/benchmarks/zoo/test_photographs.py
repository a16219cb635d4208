"""Random crops, on pictures made here."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.zoo import photographs

Image = pytest.importorskip("PIL.Image")
SOURCES = (("p", "1", "f", "red"), ("p", "1", "f", "blue"))


@pytest.fixture(autouse=True)
def _pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    def picture(package: str, version: str, folder: str, name: str) -> object:
        return Image.new("RGB", (60, 40), name)

    monkeypatch.setattr(photographs, "photograph", picture)


def test_photographs_take_turns() -> None:
    crops = list(photographs.crops(SOURCES, 3, 16, seed=0))
    assert [crop.shape for crop in crops] == [(16, 16, 3)] * 6
    assert [tuple(crop[8, 8]) for crop in crops] == [(255, 0, 0), (0, 0, 255)] * 3


def test_same_seed_same_crops() -> None:
    first, second = (np.stack(list(photographs.crops(SOURCES, 2, 8, seed=5))) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_no_photograph_is_in_both_sets() -> None:
    assert not set(photographs.CALIBRATION) & set(photographs.EVALUATION)
