"""Old models are converted through onnx's converter and compute what they did."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper

from tests.models import make_model
from tests.passes.support import parse, run
from tilewright.errors import ModelError
from tilewright.passes import normalise
from tilewright.passes import run as run_passes
from tilewright.passes.raise_opset import RaiseOpset

FLOAT = TensorProto.FLOAT
X = np.random.default_rng(0).standard_normal((2, 3, 4)).astype(np.float32)


def old() -> ir.Model:
    """Opset 8: BatchNormalization's and Clip's limits and Softmax's meaning have changed since."""
    nodes = [
        helper.make_node("Clip", ["x"], ["c"], min=-1.0, max=0.5),
        helper.make_node("Softmax", ["c"], ["s"], axis=1),
        helper.make_node("Squeeze", ["w"], ["ws"], axes=[0]),
        helper.make_node("MatMul", ["s", "ws"], ["y"]),
    ]
    weight = np.random.default_rng(1).standard_normal((1, 4, 5)).astype(np.float32)
    model = make_model(nodes, {"x": (FLOAT, [2, 3, 4])}, {"y": (FLOAT, [2, 3, 5])}, {"w": weight}, opset=8)
    return normalise(ir.from_proto(model), {}, keep=lambda node: True)


def test_an_old_model_computes_the_same() -> None:
    model = old()
    (before,) = run(model, {"x": X})
    result = RaiseOpset(13)(model)
    assert result.modified
    assert result.model.opset_imports[""] == 13
    assert {node.op_type for node in result.model.graph} == {"Clip", "Flatten", "Reshape", "Softmax", "MatMul"}
    assert all(node.name for node in result.model.graph)
    np.testing.assert_allclose(run(result.model, {"x": X})[0], before, rtol=1e-6)  # sums in another order
    assert model.opset_imports[""] == 8


def test_a_new_model_stays() -> None:
    model = parse("g (float[2] x) => (float[2] y) { y = Neg(x) }")
    result = RaiseOpset(13)(model)
    assert not result.modified
    assert result.model.opset_imports[""] == 21


def test_foreign_operators_are_refused() -> None:
    model = old()
    model.graph[0].domain = "com.example"
    with pytest.raises(ModelError, match=r"opset 8 cannot be raised to 13 .* operators Clip of other domains"):
        run_passes(model, [RaiseOpset(13)])


def test_what_the_converter_cannot_do_is_said() -> None:
    model = old()
    model.graph[0].op_type = "Nonsense"
    with pytest.raises(ModelError, match="opset 8 is too old"):
        run_passes(model, [RaiseOpset(13)])
