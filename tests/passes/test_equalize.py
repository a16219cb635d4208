"""Equalisation leaves the function as it is and brings channels to similar ranges, wherever scaling may pass."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from tests.models import make_model
from tests.passes.support import normal, run
from tests.passes.test_coupling import network
from tilewright.formats.registry import parse
from tilewright.numeric import relative_l2
from tilewright.passes import normalise
from tilewright.passes.equalize import Equalize
from tilewright.passes.weights import all_weights

FLOAT = TensorProto.FLOAT
Array = npt.NDArray[np.float32]


def uneven(*shape: int, seed: int = 0) -> Array:
    """Output channels whose ranges spread over four decades."""
    factors = 10.0 ** np.random.default_rng(seed).uniform(-2, 2, shape[0])
    return (normal(*shape) * factors.reshape(-1, *[1] * (len(shape) - 1))).astype(np.float32)


def prepared(model: onnx.ModelProto) -> ir.Model:
    return normalise(ir.from_proto(model), {}, keep=lambda node: True)


def chain(activation: str = "Relu", seed: int = 0) -> onnx.ModelProto:
    """Conv, Relu, depthwise, Relu, Conv with a residual, pooling, flatten, Gemm, PRelu, Gemm."""
    n = helper.make_node
    nodes = [
        n("Conv", ["x", "w1", "b1"], ["c1"], name="c1"),
        n(activation, ["c1"], ["r1"], name="r1"),
        n("Conv", ["r1", "wd", "bd"], ["d"], name="d", group=8, pads=[1] * 4),
        n("Relu", ["d"], ["rd"], name="rd"),
        n("Conv", ["rd", "w2"], ["c2"], name="c2"),
        n("Conv", ["x", "w3"], ["c3"], name="c3"),
        n("Add", ["c2", "c3"], ["a"], name="a"),
        n("Mul", ["a", "factor"], ["m"], name="m"),
        n("MaxPool", ["m"], ["p"], name="p", kernel_shape=[2, 2], strides=[2, 2]),
        n("Flatten", ["p"], ["f"], name="f"),
        n("Gemm", ["f", "w4", "b4"], ["g"], name="g", transB=1),
        n("PRelu", ["g", "slope"], ["q"], name="q"),
        n("Gemm", ["q", "w5"], ["y"], name="y"),
    ]
    constants = {
        **{"w1": uneven(8, 3, 1, 1, seed=seed), "b1": normal(8), "wd": normal(8, 1, 3, 3), "bd": normal(8)},
        **{"w2": uneven(6, 8, 1, 1, seed=seed + 1), "w3": normal(6, 3, 1, 1), "factor": normal(6, 1, 1)},
        **{"w4": uneven(10, 96, seed=seed + 2), "b4": normal(10), "slope": normal(10), "w5": normal(10, 4)},
    }
    return make_model(nodes, {"x": (FLOAT, [1, 3, 8, 8])}, {"y": (FLOAT, [1, 4])}, constants)


@given(seed=st.integers(0, 20))
@settings(max_examples=5, deadline=None)
def test_the_function_stays_bit_for_bit_and_ranges_meet(seed: int) -> None:
    model = prepared(chain(seed=seed))
    x = {"x": np.random.default_rng(seed).standard_normal((1, 3, 8, 8)).astype(np.float32)}
    before = run(model, x)
    step = Equalize()
    step(model)
    np.testing.assert_array_equal(run(model, x)[0], before[0])  # powers of two are exact
    assert {(layer.writers, layer.readers): layer.reason for layer in step.layers} == {
        **{(("c1",), ("c2",)): "", (("c2", "c3"), ("g",)): "", (("g",), ("y",)): ""},
    }
    spreads = {layer.writers: (layer.before, layer.after) for layer in step.layers}
    assert spreads["c1",][1] < spreads["c1",][0]
    assert spreads["g",][1] < spreads["g",][0]
    made, read = np.abs(array(model, "w1")).max(axis=(1, 2, 3)), np.abs(array(model, "w2")).max(axis=(0, 2, 3))
    assert (np.abs(np.log2(made / read)) <= 1).all()  # a factor of two, as the factors are powers of two


def array(model: ir.Model, name: str) -> Array:
    constant = model.graph.initializers[name].const_value
    assert constant is not None
    return constant.numpy()


def test_one_scale_a_tensor_quantizes_better_afterwards() -> None:
    def error(model: ir.Model) -> float:
        quantizer = parse("int8(per=tensor)").codec
        x = {"x": normal(1, 3, 8, 8)}
        before = run(model, x)[0]
        for weight in all_weights(model.graph):
            weight.store(quantizer.decode(quantizer.encode(weight.matrix)))
        return relative_l2(run(model, x)[0], before)

    plain, equalized = prepared(chain()), prepared(chain())
    Equalize()(equalized)
    assert error(equalized) < error(plain) / 2


def test_any_network_keeps_its_function() -> None:
    model = prepared(network())
    x = {"x": normal(1, 3, 8, 8)}
    before = run(model, x)
    Equalize()(model)
    for got, want in zip(run(model, x), before, strict=True):
        np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("activation", ["Sigmoid", "HardSwish", "Softplus"])
def test_what_does_not_scale_is_named(activation: str) -> None:
    model = prepared(chain(activation))
    step = Equalize()
    step(model)
    reasons = {layer.writers: layer.reason for layer in step.layers}
    assert reasons[("c1",)] == f"r1 ({activation}) does not scale with its input"
    assert reasons[("g",)] == ""


def refused(nodes: list[onnx.NodeProto], constants: dict[str, Any]) -> str:
    """The reason for the channels that "first" makes."""
    outputs: dict[str, tuple[int, list[int | str]]] = {"y": (FLOAT, [2, 3])}
    model = prepared(
        make_model(nodes, {"x": (FLOAT, [2, 4])}, outputs, {"w": normal(4, 6), "v": normal(6, 3), **constants})
    )
    before = run(model, {"x": normal(2, 4)})
    step = Equalize()
    step(model)
    np.testing.assert_array_equal(run(model, {"x": normal(2, 4)})[0], before[0])
    (layer,) = [layer for layer in step.layers if layer.writers == ("first",)]
    assert layer.before == layer.after
    return layer.reason


def test_obstacles() -> None:
    n = helper.make_node
    last = n("MatMul", ["b", "v"], ["y"], name="last")
    bias = [n("Gemm", ["x", "w", "one"], ["b"], name="first"), last]
    assert "bias that is not one number a channel" in refused(bias, {"one": normal(1)})
    shift = [n("MatMul", ["x", "w"], ["a"], name="first"), n("Add", ["a", "one"], ["b"], name="shift"), last]
    assert "shift (Add) has a constant" in refused(shift, {"one": normal(1)})
    divide = [n("MatMul", ["x", "w"], ["a"], name="first"), n("Div", ["c", "a"], ["b"], name="turned"), last]
    assert "turned (Div)" in refused(divide, {"c": normal(6) + 9})
    clip = [n("MatMul", ["x", "w"], ["a"], name="first"), n("Clip", ["a", "zero", "six"], ["b"], name="clip"), last]
    assert "clip (Clip) does not scale" in refused(clip, {"zero": np.float32(0), "six": np.float32(6)})


def test_dead_channels_stay_as_they_are() -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"], name="first"),
        helper.make_node("MatMul", ["a", "v"], ["y"], name="last"),
    ]
    w, v = normal(4, 6), normal(6, 3) * 100
    w[:, 2] = 0
    v[3] = 0
    model = prepared(make_model(nodes, {"x": (FLOAT, [2, 4])}, {"y": (FLOAT, [2, 3])}, {"w": w, "v": v}))
    Equalize()(model)
    for channel in (2, 3):
        np.testing.assert_array_equal(array(model, "w")[:, channel], w[:, channel])
        np.testing.assert_array_equal(array(model, "v")[channel], v[channel])
    assert not np.array_equal(array(model, "w")[:, 0], w[:, 0])
