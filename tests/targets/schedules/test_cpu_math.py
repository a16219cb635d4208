"""The vector functions against float64 NumPy and SciPy over their whole range."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from scipy import special

from tests.models import make_model
from tests.targets.running import levels_here, run

Function = Callable[[Any], Any]
SPECIAL = [math.nan, math.inf, -math.inf, 0.0, -0.0, 88.7, 88.8, 1e30, -1e30, -87.4, -103.9, 1e-40]


def samples() -> np.ndarray:
    tiny = np.logspace(-30, 0, 5000)
    spread = [np.linspace(-110, 95, 20001), np.linspace(-6, 6, 20001), tiny, -tiny, SPECIAL]
    return np.concatenate(spread).astype(np.float32)


def unary(op: str, size: int) -> onnx.ModelProto:
    vector: tuple[int, list[int | str]] = (TensorProto.FLOAT, [size])
    return make_model([helper.make_node(op, ["x"], ["y"])], {"x": vector}, {"y": vector})


def logistic(x: Any) -> Any:
    return special.expit(x)


# Units in the last place of the float32 result; below the smallest normal number, of that number.
@pytest.mark.parametrize(("op", "exact", "ulps"), [("Exp", np.exp, 2), ("Tanh", np.tanh, 2), ("Erf", special.erf, 3)])
def test_units_in_the_last_place(op: str, exact: Function, ulps: float) -> None:
    x = samples()
    with np.errstate(over="ignore"):
        wanted = exact(x.astype(np.float64)).astype(np.float32)
    got = run(unary(op, len(x)), {"x": x}, levels_here()[-1])["y"]
    np.testing.assert_array_equal(np.isnan(got), np.isnan(wanted))
    np.testing.assert_array_equal(got[np.isinf(wanted)], wanted[np.isinf(wanted)])
    finite = np.isfinite(wanted)
    unit = np.spacing(np.maximum(np.abs(wanted[finite]), np.finfo(np.float32).tiny))
    assert float(np.max(np.abs(got[finite].astype(np.float64) - wanted[finite]) / unit)) <= ulps


def test_sigmoid() -> None:
    """To 2e-7 of the largest value 1; below exp(-88) the result is 0."""
    x = samples()
    got = run(unary("Sigmoid", len(x)), {"x": x}, levels_here()[-1])["y"]
    np.testing.assert_allclose(got, logistic(x.astype(np.float64)), rtol=0, atol=2e-7)


@pytest.mark.parametrize(
    "limits", [(0.0, 6.0), (-3.0, 2.5), (-900.0, 900.0), (-90.0, -80.0), (80.0, 90.0), (0.0, None)]
)
@pytest.mark.parametrize("zero", [0, 7, 255])
def test_a_quantizer_after_a_clamp_is_one_clamp(limits: tuple[float, float | None], zero: int) -> None:
    """Exact, since doubling and dividing by 1/32 are; some clamps lie wholly outside of what bytes can stand for."""
    x = np.concatenate([np.linspace(-70, 70, 4481), [1e30, -1e30]]).astype(np.float32)
    inputs = ["double", *("" if limit is None else name for name, limit in zip(("low", "high"), limits, strict=True))]
    nodes = [
        helper.make_node("Add", ["x", "x"], ["double"]),
        helper.make_node("Clip", inputs, ["clamped"]),
        helper.make_node("QuantizeLinear", ["clamped", "scale", "zero"], ["y"]),
    ]
    constants = {"scale": np.float32(1 / 32), "zero": np.uint8(zero)}
    constants |= {name: np.float32(v) for name, v in zip(("low", "high"), limits, strict=True) if v is not None}
    vector: list[int | str] = [len(x)]
    model = make_model(
        nodes,
        {"x": (TensorProto.FLOAT, vector)},
        {"y": (TensorProto.UINT8, vector)},
        {name: np.asarray(value) for name, value in constants.items()},
    )
    wanted = np.clip(np.rint(np.clip(2 * x, limits[0], limits[1]) * 32) + zero, 0, 255).astype(np.uint8)
    np.testing.assert_array_equal(run(model, {"x": x}, levels_here()[-1])["y"], wanted)
