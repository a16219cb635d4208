"""Functions of several operators, back to the tensor that they come from."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from tilewright.frontend.quantized.expression import expression
from tilewright.frontend.quantized.values import Unfit

from . import models
from .models import Qdq


def last(q: Qdq, value: str, *shape: int) -> tuple[ir.Model, ir.Node]:
    model = models.load(q.build({value: shape}))
    node = model.graph.outputs[0].producer()
    assert node is not None
    return model, node


def test_one_tensor_may_be_read_twice() -> None:
    """x * (x / 2 + 1), against NumPy in the same precision, so exactly."""
    q = Qdq()
    x = q.input(1, 4)
    model, node = last(q, q.node("Mul", x, q.node("Add", q.node("Div", x, q.constant(2, "float32")),
                                                  q.constant([1], "float32"))), 1, 4)  # fmt: skip
    found = expression(node)
    assert found.leaf is model.graph.inputs[0]
    assert [item.op_type for item in found.nodes] == ["Div", "Add", "Mul"]
    assert found.inner == frozenset(found.nodes[:2])
    assert found.alone
    values = np.linspace(-3, 3, 7).astype(np.float32)
    np.testing.assert_array_equal(found(values), values * (values / np.float32(2) + np.float32(1)))


def test_who_else_reads_what() -> None:
    q = Qdq()
    x = q.input(1, 4)
    inner = q.node("Sigmoid", x)
    outer = q.node("Mul", x, inner)
    model = models.load(q.build({outer: (1, 4), inner: (1, 4)}))
    node = model.graph.outputs[0].producer()
    assert node is not None
    found = expression(node)
    assert found.inner == frozenset()
    assert not found.alone


@pytest.mark.parametrize("other", [[1, 2, 3, 4], [[1], [2], [3]]])
def test_constants_that_differ_by_element(other: list[float]) -> None:
    q = Qdq()
    x = q.input(1, 3, 4)
    _, node = last(q, q.node("Mul", x, q.constant(other, "float32")), 1, 3, 4)
    with pytest.raises(Unfit, match="parameters differ by channel"):
        expression(node)


def test_two_tensors() -> None:
    q = Qdq()
    x = q.input(1, 4)
    _, node = last(q, q.node("Mul", x, q.node("Softmax", x)), 1, 4)
    with pytest.raises(Unfit, match="operands are not quantized"):
        expression(node)
