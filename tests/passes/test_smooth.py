"""Smoothing leaves the function as it is, and quantized layers err less where some channels are much larger."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir
import onnxruntime as ort
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from tests.models import make_model
from tests.passes.support import normal, operators, run
from tilewright.numeric import relative_l2
from tilewright.passes import normalise
from tilewright.passes.activation_plan import Rule
from tilewright.passes.calibrate import collect
from tilewright.passes.quantize_activations import QuantizeActivations, observed
from tilewright.passes.smooth import Smooth, SmoothedTensor

FLOAT = TensorProto.FLOAT
Array = npt.NDArray[Any]
CHANNELS = 24


def block(seed: int = 0, spread: float = 60.0) -> onnx.ModelProto:
    """A feed-forward block of a transformer: two channels of its normalization are ``spread`` times as large."""
    n = helper.make_node
    rng = np.random.default_rng(seed)
    gamma = np.ones(CHANNELS, np.float32)
    gamma[rng.choice(CHANNELS, 2, replace=False)] = spread
    nodes = [
        n("LayerNormalization", ["x", "gamma", "beta"], ["norm"], name="norm"),
        n("MatMul", ["norm", "up"], ["u"], name="up"),
        n("Erf", ["u"], ["e"], name="erf"),
        n("MatMul", ["e", "down"], ["d"], name="down"),
        n("MatMul", ["norm", "across"], ["a"], name="across"),
        n("Add", ["norm", "d"], ["y"], name="residual"),
    ]
    constants: dict[str, Array] = {"gamma": gamma, "beta": normal(CHANNELS) / 10}
    for name, shape in (("up", (CHANNELS, 32)), ("across", (CHANNELS, 32)), ("down", (32, CHANNELS))):
        constants[name] = rng.standard_normal(shape).astype(np.float32)
    results: dict[str, tuple[int, list[int | str]]] = {"a": (FLOAT, [1, 9, 32]), "y": (FLOAT, [1, 9, CHANNELS])}
    return make_model(nodes, {"x": (FLOAT, [1, 9, CHANNELS])}, results, constants)


def prepared(model: onnx.ModelProto) -> ir.Model:
    return normalise(ir.from_proto(model), {}, keep=lambda node: True)


def feeds_of(count: int = 6) -> list[dict[str, Array]]:
    rng = np.random.default_rng(1)
    return [{"x": rng.standard_normal((1, 9, CHANNELS)).astype(np.float32)} for _ in range(count)]


def everything(node: ir.Node) -> int | None:
    return 8


def smoothed(model: ir.Model, rule: Rule = everything) -> dict[str, SmoothedTensor]:
    step = Smooth(rule, feeds_of())
    step(model)
    onnx.checker.check_model(ir.to_proto(model), full_check=True)
    return {tensor.tensor: tensor for tensor in step.tensors}


@given(seed=st.integers(0, 50), spread=st.floats(1, 1000))
@settings(max_examples=8, deadline=None)
def test_the_function_stays_and_products_never_err_more(seed: int, spread: float) -> None:
    model = prepared(block(seed, spread))
    feed = feeds_of(1)[0]
    before = run(model, feed)
    found = smoothed(model)
    # Products of powers of two are exact; onnxruntime may sum in another order than before: 1e-6 is its rounding.
    for got, wanted in zip(run(model, feed), before, strict=True):
        assert relative_l2(got, wanted) < 1e-6
    assert set(found) == {"norm", "e"}
    for tensor in found.values():
        assert tensor.after <= tensor.before


def test_quantized_layers_err_less_afterwards() -> None:
    def error(model: ir.Model) -> float:
        reference = prepared(block())
        statistics = collect(model, feeds_of(), observed(model, everything))
        QuantizeActivations(everything, statistics, "minmax")(model)
        return max(relative_l2(run(model, feed)[0], run(reference, feed)[0]) for feed in feeds_of())

    plain, smooth = prepared(block()), prepared(block())
    found = smoothed(smooth)
    assert found["norm"].layers == ("up", "across")
    assert found["norm"].exponent is not None
    assert found["norm"].after < found["norm"].before / 4  # squares
    assert error(smooth) < error(plain) / 2


def test_one_multiplication_serves_all_layers_and_the_residual_does_not_see_it() -> None:
    model = prepared(block())
    before = operators(model)
    smoothed(model)
    assert operators(model) - before == {"Mul": 1}  # the channels of "e" are alike
    (residual,) = [node for node in model.graph if node.name == "residual"]
    assert residual.inputs[0] is not None
    assert residual.inputs[0].name == "norm"


def only(kept: str) -> Rule:
    return lambda node: 8 if node.name == kept else None


def test_layers_in_float_are_left_alone() -> None:
    model = prepared(block())
    found = smoothed(model, only("across"))
    assert found["norm"].layers == ("across",)
    (up,) = [node for node in model.graph if node.name == "up"]
    assert up.inputs[0] is not None
    assert up.inputs[0].name == "norm"


@pytest.mark.parametrize("kind", ["input", "integer", "shared", "computed", "moved"])
def test_tensors_that_do_not_suit_are_left_alone(kind: str) -> None:
    n = helper.make_node
    make: dict[str, list[onnx.NodeProto]] = {
        "input": [n("MatMul", ["x", "w"], ["y"], name="first")],
        "integer": [n("MatMul", ["x", "v"], ["a"], name="zero"), n("MatMul", ["a", "w"], ["y"], name="first")],
        "shared": [
            n("Erf", ["x"], ["a"], name="a"),
            n("MatMul", ["a", "w"], ["b"], name="first"),
            n("Erf", ["b"], ["c"], name="c"),
            n("MatMul", ["c", "w"], ["d"], name="second"),
            n("Add", ["d", "w"], ["y"], name="also"),
        ],
        "computed": [
            n("Erf", ["x"], ["a"], name="a"),
            n("Transpose", ["a"], ["t"], name="t", perm=[0, 2, 1]),
            n("MatMul", ["a", "t"], ["y"], name="first"),
        ],
        "moved": [
            n("Erf", ["x"], ["a"], name="a"),
            n("MatMul", ["a", "w"], ["b"], name="first"),
            n("Transpose", ["a"], ["t"], name="t", perm=[0, 2, 1]),
            n("MatMul", ["b", "t"], ["y"], name="second"),
        ],
    }
    side = CHANNELS if kind in ("input", "integer", "shared") else 9
    constants = {"w": normal(CHANNELS, CHANNELS), "v": normal(CHANNELS, CHANNELS) + 1}
    used = {name for node in make[kind] for name in node.input}
    extent: list[int | str] = [1, CHANNELS, CHANNELS] if kind == "shared" else [1, 9, side]
    model = prepared(
        make_model(
            make[kind],
            {"x": (FLOAT, [1, 9, CHANNELS] if kind != "shared" else [1, CHANNELS, CHANNELS])},
            {"y": (FLOAT, extent)},
            {name: array for name, array in constants.items() if name in used},
        )
    )
    before = ir.to_proto(model).SerializeToString()
    shape = (1, CHANNELS if kind == "shared" else 9, CHANNELS)
    step = Smooth(everything, [{"x": normal(*shape)}])
    assert not step(model).modified
    assert ir.to_proto(model).SerializeToString() == before


def test_what_calibration_never_saw_stays() -> None:
    model = prepared(block())
    nan = {"x": np.full((1, 9, CHANNELS), np.nan, np.float32)}
    step = Smooth(everything, [nan])
    step(model)
    assert [tensor.exponent for tensor in step.tensors] == [None, None]


def test_onnxruntime_runs_the_result() -> None:
    model = prepared(block())
    smoothed(model)
    session = ort.InferenceSession(ir.to_proto(model).SerializeToString(), providers=["CPUExecutionProvider"])
    assert np.isfinite(session.run(None, feeds_of(1)[0])[0]).all()
