"""relative_l2 against hand-computed values, and sample inputs of every dtype."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pytest

from tilewright.numeric import relative_l2, sample_inputs


@dataclass
class Spec:
    name: str
    dtype: str
    shape: tuple[int, ...]


def test_value() -> None:
    assert relative_l2(np.array([3.0, 4.5]), np.array([3.0, 4.0])) == pytest.approx(0.1)


def test_zero_reference_gives_absolute_error() -> None:
    assert relative_l2(np.array([0.5]), np.array([0.0])) == 0.5


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_equal_non_finite_values_agree(value: float) -> None:
    assert relative_l2(np.array([value, 1.0]), np.array([value, 1.0])) == 0


@pytest.mark.parametrize(("got", "want"), [(math.nan, 1.0), (math.inf, 1.0), (1.0, math.inf), (math.inf, -math.inf)])
def test_one_sided_non_finite_values_never_agree(got: float, want: float) -> None:
    assert not relative_l2(np.array([got, 1.0]), np.array([want, 1.0])) <= 1e30


def test_shapes_must_match() -> None:
    assert relative_l2(np.zeros((1, 2)), np.zeros(2)) == math.inf


def test_samples_have_dtype_and_shape_and_repeat() -> None:
    specs = [Spec("x", "float16", (2, 3)), Spec("ids", "int64", (4,)), Spec("mask", "bool", ())]
    first, second = sample_inputs(specs), sample_inputs(specs)
    for spec in specs:
        assert first[spec.name].dtype == spec.dtype
        assert first[spec.name].shape == spec.shape
        assert (first[spec.name] == second[spec.name]).all()
