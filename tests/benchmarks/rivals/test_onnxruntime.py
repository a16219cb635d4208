"""onnxruntime's quantizers on small networks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from benchmarks.evaluation import runner
from benchmarks.rivals.base import parameter_bytes
from benchmarks.rivals.onnxruntime import RIVALS, products_from_gemm
from tests.models import make_model
from tilewright.numeric import relative_l2

INT8, INT4 = RIVALS


def perceptron(transposed: int) -> onnx.ModelProto:
    rng = np.random.default_rng(0)
    first = rng.standard_normal((48, 64) if transposed else (64, 48)).astype(np.float32)
    nodes = [
        helper.make_node("Gemm", ["x", "w1", "b1"], ["h"], name="first", transB=transposed),
        helper.make_node("Relu", ["h"], ["r"], name="relu"),
        helper.make_node("Gemm", ["r", "w2", "b2"], ["y"], name="second", alpha=0.5),
    ]
    weights = {
        **{"w1": first, "b1": rng.standard_normal(48).astype(np.float32)},
        **{"w2": rng.standard_normal((48, 8)).astype(np.float32), "b2": np.ones(8, np.float32)},
    }
    return make_model(nodes, {"x": (TensorProto.FLOAT, [1, 64])}, {"y": (TensorProto.FLOAT, [1, 8])}, weights)


@pytest.mark.parametrize("transposed", [0, 1])
def test_gemm_becomes_a_product_of_the_same_value(transposed: int) -> None:
    model = perceptron(transposed)
    x = {"x": np.random.default_rng(1).standard_normal((1, 64)).astype(np.float32)}
    want = runner(model)(x)["y"]
    products_from_gemm(model)
    onnx.checker.check_model(model)
    assert [node.op_type for node in model.graph.node] == ["MatMul", "Add", "Relu", "Gemm"]  # alpha is not plain
    np.testing.assert_allclose(runner(model)(x)["y"], want, rtol=1e-5, atol=1e-4)  # sums of 64, single precision


@pytest.mark.parametrize(("rival", "smaller", "error"), [(INT8, 0.5, 0.05), (INT4, 0.5, 0.3)])
def test_smaller_and_near(rival: object, smaller: float, error: float, tmp_path: Path) -> None:
    """Loose bounds, of another program: 8 bits are within 5 %, 4 bits within 30 % of the output's length."""
    assert rival in RIVALS
    rng = np.random.default_rng(2)
    samples = [{"x": rng.standard_normal((1, 64)).astype(np.float32)} for _ in range(16)]
    source, target = tmp_path / "float.onnx", tmp_path / "small.onnx"
    onnx.save(perceptron(1), source)
    (INT8 if rival is INT8 else INT4).make(source, samples, target)
    assert parameter_bytes(onnx.load(target)) < smaller * parameter_bytes(onnx.load(source))
    got, want = runner(target), runner(source)
    both = [(got(x)["y"], want(x)["y"]) for x in samples]
    assert relative_l2(np.concatenate([a for a, _ in both]), np.concatenate([b for _, b in both])) < error
