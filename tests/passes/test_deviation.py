"""The deviation as its formula says; probes and joint sessions agree with the model changed in earnest."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from tests.passes.support import normal, parse, run
from tests.passes.test_coupling import network, prepared
from tilewright.errors import DataError
from tilewright.passes.deviation import Deviation
from tilewright.passes.weights import Array, Weight, all_weights

FEEDS = [{"x": normal(1, 3, 8, 8) * scale} for scale in (1.0, -0.5, 2.0)]


def changed(model: ir.Model, weight: Weight, array: Array) -> ir.Model:
    copy = model.clone()
    copy.graph.initializers[weight.value.name or ""].const_value = ir.tensor(array)
    return copy


def expected(model: ir.Model, other: ir.Model) -> float:
    wanted, got = ([run(one, feed) for feed in FEEDS] for one in (model, other))
    ratios = [
        sum(np.square(b[at] - a[at]).sum() for a, b in zip(wanted, got, strict=True))
        / sum(np.square(a[at]).sum() for a in wanted)
        for at in range(len(wanted[0]))
    ]
    return float(np.mean(ratios))


def test_every_probe_is_the_changed_model() -> None:
    model = prepared(network())  # branches that join behind several weights, two outputs
    deviation = Deviation(model, FEEDS)
    weights = list(all_weights(model.graph))
    seen = []
    for weight, probe in deviation.probes(weights):
        assert weight.value.const_value is not None
        original = weight.value.const_value.numpy()
        assert probe(original) == pytest.approx(0, abs=1e-11)  # squares of float32's 1e-7, with room
        # float32 on both sides, in other orders of summation
        assert probe(original * 1.25) == pytest.approx(expected(model, changed(model, weight, original * 1.25)), 1e-3)
        joint = {
            str(other.value.name): other.value.const_value.numpy()  # type: ignore[union-attr]
            for other in weights
        }
        assert deviation.joint({**joint, str(weight.value.name): original * 1.25}) == pytest.approx(
            probe(original * 1.25), 1e-3
        )
        seen.append(weight.layer)
    assert sorted(seen) == sorted(weight.layer for weight in weights)


def test_a_weight_inside_branches() -> None:
    text = """
        g (float[1,2] x, bool which) => (float[1,2] y) <float[2,2] w = {1.0, 2.0, 3.0, 4.0}> {
            a = MatMul(x, w)
            y = If(which) <
                then_branch = yes () => (float[1,2] t) { t = MatMul(x, w) },
                else_branch = no () => (float[1,2] e) { e = Identity(a) }
            >
        }"""
    model = parse(text)
    weight = Weight("a", model.graph.initializers["w"], 1, 0)
    feeds = [{"x": np.ones((1, 2), np.float32), "which": np.array(flag)} for flag in (True, False)]
    for _, probe in Deviation(model, feeds).probes([weight]):
        assert probe(np.zeros((2, 2), np.float32)) == 1.0


def test_logits_count_in_front_of_a_final_softmax() -> None:
    model = parse("g (float[1,3] x) => (float[1,3] y, int64[1,1] k) { a = Neg(x)  y = Softmax(a)  k = ArgMax(y) }")
    deviation = Deviation(model, [{"x": normal(1, 3)}])
    assert deviation.names == ["a"]
    assert deviation.of([{"a": -2 * normal(1, 3)}]) == pytest.approx(1.0)
    assert deviation.of([{"a": np.full((1, 3), np.nan)}]) == np.inf


def test_what_cannot_be_measured() -> None:
    model = parse("g (float[2] x) => (float[2] y) { y = Sqrt(x) }")
    with pytest.raises(DataError, match="no calibration data"):
        Deviation(model, [])
    with pytest.raises(DataError, match="sample 1: the float network's 'y' has NaN"):
        Deviation(model, [{"x": np.array([1, 4], np.float32)}, {"x": np.array([1, -4], np.float32)}])
    with pytest.raises(DataError, match="no floating-point output"):
        Deviation(parse("g (float[2] x) => (int64[1] y) { y = Shape(x) }"), [{"x": normal(2)}])


def test_zeros_as_the_reference_count_absolutely() -> None:
    deviation = Deviation(parse("g (float[2] x) => (float[2] y) { y = Relu(x) }"), [{"x": -np.ones(2, np.float32)}])
    assert deviation.of([{"y": np.array([3, 4], np.float32)}]) == 25
