"""Pivoting a network: same function, more magnitude under blocks, and honest reasons where it cannot."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper

from tests.models import make_model
from tests.passes.test_coupling import network, prepared, run
from tests.passes.test_permutation_search import planted
from tilewright.passes.pivot import Blocks, Pivot
from tilewright.passes.weights import Weight

FLOAT = TensorProto.FLOAT
BLOCKS = Blocks(4, 4, 0.125)


def everything(weight: Weight) -> Blocks:
    return BLOCKS


def perceptron() -> onnx.ModelProto:
    """Three products; the middle one's 128x128 weight has a planted block structure, its rows and columns shuffled."""
    rng = np.random.default_rng(0)
    n = helper.make_node
    nodes = [
        n("Gemm", ["x", "w1", "b1"], ["a"], name="first", transB=1),
        n("Relu", ["a"], ["ar"], name="relu1"),
        n("Gemm", ["ar", "w2", "b2"], ["b"], name="second", transB=1),
        n("Relu", ["b"], ["br"], name="relu2"),
        n("MatMul", ["br", "w3"], ["y"], name="third"),
    ]

    def small(*shape: int) -> npt.NDArray[np.float32]:
        return rng.standard_normal(shape).astype("float32") / 10

    constants = {
        **{"w1": small(128, 16), "b1": small(128), "b2": small(128), "w3": small(128, 12)},
        "w2": planted((128, 128), (4, 4), 4, 0.2).astype("float32"),
    }
    return make_model(nodes, {"x": (FLOAT, [1, 16])}, {"y": (FLOAT, [1, 12])}, constants)


def test_planted_structure_is_found_and_the_function_stays() -> None:
    model = prepared(perceptron())
    x = np.random.default_rng(1).standard_normal((1, 16)).astype("float32")
    before = run(model, x)
    pivot = Pivot(lambda weight: BLOCKS if weight.layer == "second" else None)
    pivot(model)
    (layer,) = pivot.layers
    assert layer.fixed == ()
    assert layer.pivoted >= (layer.unpivoted + layer.unstructured) / 2
    for got, want in zip(run(model, x), before, strict=True):
        # 128 products added in another order, single precision
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)


def test_every_kind_of_layer_keeps_the_function() -> None:
    model = prepared(network())
    before = run(model)
    pivot = Pivot(everything)
    pivot(model)
    for got, want in zip(run(model), before, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)
    assert [layer.layer for layer in pivot.layers] == ["c1", "c2", "c3", "c4", "fc", "last"]


def test_the_largest_weight_chooses_first_and_fixed_sides_say_why() -> None:
    model = prepared(perceptron())
    pivot = Pivot(everything)
    pivot(model)
    first, second, third = pivot.layers
    assert second.pivoted > second.unpivoted
    assert any("given from outside" in reason for reason in first.fixed)
    assert any("output" in reason for reason in third.fixed)


def test_no_rule_no_change() -> None:
    model = prepared(network())
    before = run(model)
    result = Pivot(lambda weight: None)(model)
    assert not result.modified
    for got, want in zip(run(model), before, strict=True):
        np.testing.assert_array_equal(got, want)
