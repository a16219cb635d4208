"""erf and tanh of devices with few registers: their error over the whole range, and the special values."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import onnx
import pytest
from tvm import te

from tests.models import make_model
from tests.targets.gpu import needs_opencl
from tests.targets.running import run
from tilewright.targets import resolve
from tilewright.targets.gpu import GpuTarget
from tilewright.targets.schedules.gpu_common import nodes
from tilewright.targets.schedules.gpu_math import expand_math

# Four units in the last place from the evaluation, and as much again from the digits that generated source has of
# each coefficient (seven).
TOLERANCE = 1e-6


def inputs() -> np.ndarray:
    """Both signs, from denormals to where the functions are 1 and the largest floats."""
    positive = np.concatenate([np.linspace(0, 10, 4001), np.geomspace(1e-38, 3e38, 1999)])
    return np.concatenate([positive, -positive]).astype(np.float32)


@pytest.mark.parametrize(("operator", "function"), [("Erf", math.erf), ("Tanh", math.tanh)])
def test_error_over_the_whole_range(operator: str, function: Callable[[float], float]) -> None:
    needs_opencl()
    x = inputs()
    tensor = (onnx.TensorProto.FLOAT, [len(x)])
    model = make_model([onnx.helper.make_node(operator, ["x"], ["y"])], {"x": tensor}, {"y": tensor})
    got = run(model, {"x": x}, "mali-g57")["y"]
    np.testing.assert_allclose(got, [function(float(value)) for value in x], rtol=TOLERANCE, atol=1e-37)
    assert np.abs(got).max() == 1.0


@pytest.mark.parametrize("operator", ["Erf", "Tanh"])
def test_infinities_and_nan(operator: str) -> None:
    needs_opencl()
    x = np.array([np.inf, -np.inf, np.nan], np.float32)
    tensor = (onnx.TensorProto.FLOAT, [3])
    model = make_model([onnx.helper.make_node(operator, ["x"], ["y"])], {"x": tensor}, {"y": tensor})
    np.testing.assert_array_equal(run(model, {"x": x}, "mali-g57")["y"], np.array([1, -1, np.nan], np.float32))


def test_devices_with_many_registers_keep_their_own_functions() -> None:
    x = te.placeholder((4,), name="x")
    func = te.create_prim_func([x, te.compute((4,), lambda i: te.erf(x[i]))])
    calls = {}
    for name in ("mali-g57", "jetson-orin"):
        target = resolve(name)
        assert isinstance(target, GpuTarget)
        body = expand_math(func, target.limits).body
        calls[name] = any(getattr(node, "op", None) is not None and "erf" in str(node.op) for node in nodes(body))
    assert calls == {"mali-g57": False, "jetson-orin": True}
