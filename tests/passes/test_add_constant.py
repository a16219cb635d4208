"""A constant has the shape and type that other passes read from it."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from tests.passes.support import parse
from tilewright.passes.add_constant import add_constant


def test_a_constant_says_what_it_is() -> None:
    graph = parse("agraph (float[2] x) => (float[2] y) { y = Relu(x) }").graph
    value = add_constant(graph, "c", np.arange(6, dtype=np.int8).reshape(2, 3))
    assert graph.initializers["c"] is value
    assert value.dtype == ir.DataType.INT8
    assert value.shape is not None
    assert value.shape.numpy() == (2, 3)
    assert value.const_value is not None
    np.testing.assert_array_equal(value.const_value.numpy(), [[0, 1, 2], [3, 4, 5]])
