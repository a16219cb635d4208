from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from tests.passes.support import check, normal, parse
from tilewright.errors import ModelError
from tilewright.passes.infer_shapes import InferShapes


def test_fills_every_value() -> None:
    model = parse("g (float[2, 3] x, float[3, 4] w) => (float[M, N] y) { a = MatMul(x, w) y = Relu(a) }")
    model = check(InferShapes(), model, {"x": normal(2, 3), "w": normal(3, 4)})
    assert [tuple(node.outputs[0].shape or ()) for node in model.graph] == [(2, 4), (2, 4)]


def test_large_weights_are_neither_lost_nor_turned_into_inputs() -> None:
    model = parse("g (float[2, 600] x) => (float[2, 600] y) { y = Add(x, w) }")
    weight = ir.Value(name="w", const_value=ir.Tensor(normal(2, 600)), type=ir.TensorType(ir.DataType.FLOAT))
    weight.shape = ir.Shape((2, 600))
    model.graph.register_initializer(weight)
    model.graph[0].replace_input_with(1, weight)
    inferred = InferShapes()(model).model
    assert [value.name for value in inferred.graph.inputs] == ["x"]
    stored = inferred.graph.initializers["w"].const_value
    assert stored is not None
    np.testing.assert_array_equal(stored.numpy(), normal(2, 600))


def test_an_inconsistent_graph_is_an_error_that_names_the_node() -> None:
    model = parse("g (float[2, 3] x, float[4, 5] w) => (float[M, N] y) { [bad] y = MatMul(x, w) }")
    with pytest.raises(ModelError, match=r"shape inference failed.*bad.*[Ii]ncompatible"):
        InferShapes().call(model)
