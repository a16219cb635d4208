"""Elementwise kernels that transpose: against onnxruntime, and that they are this file's."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper
from tvm import te, tirx

from tests.targets.running import check, levels_here
from tilewright.targets import resolve
from tilewright.targets.schedules.cpu_transpose import exchange, transpose_rule


def model(shape: tuple[int, ...], order: list[int], scaled: bool) -> onnx.ModelProto:
    """Transpose, and a product with a vector along the last axis of the result."""
    out = [shape[axis] for axis in order]
    nodes = [helper.make_node("Transpose", ["x"], ["t"], perm=order)]
    nodes.append(helper.make_node("Mul", ["t", "v"] if scaled else ["t", "t"], ["y"]))
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)]
    inputs.append(helper.make_tensor_value_info("v", TensorProto.FLOAT, out[-1:]))
    graph = helper.make_graph(nodes, "g", inputs, [helper.make_tensor_value_info("y", TensorProto.FLOAT, out)])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize("level", [0, 1, 2])
def test_equals_onnxruntime(level: int) -> None:
    levels = levels_here()
    device = levels[level % len(levels)]

    @settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
    @given(
        st.sampled_from([(40, 33), (1, 20, 7, 9), (2, 17, 3, 16), (3, 16, 32), (1, 5, 6, 7)]),
        st.randoms(use_true_random=False),
        st.booleans(),
    )
    def property_holds(shape: tuple[int, ...], random: object, scaled: bool) -> None:
        order = list(range(len(shape)))
        random.shuffle(order)  # type: ignore[attr-defined]
        rng = np.random.default_rng(0)
        feeds = {"x": rng.standard_normal(shape), "v": rng.standard_normal(shape[order[-1]])}
        check(model(shape, order, scaled), {name: value.astype(np.float32) for name, value in feeds.items()}, device)

    property_holds()


def transposition(height: int, width: int, channels: int) -> object:
    x = te.placeholder((1, channels, height, width), "float32", "x")
    return te.create_prim_func([x, te.compute((1, height, width, channels), lambda n, y, x_, c: x[n, c, y, x_] + 1.0)])


def test_images_are_one_long_row() -> None:
    """Rows of 7 pixels fill no vector, 49 pixels do."""
    device = resolve("cpu-avx2").device
    assert transpose_rule(transposition(7, 7, 24), device) is not None
    assert transpose_rule(transposition(2, 3, 24), device) is None
    assert transpose_rule(transposition(7, 7, 3), device) is None


def test_what_reads_in_order_is_left_alone() -> None:
    x = te.placeholder((32, 32), "float32", "x")
    func = te.create_prim_func([x, te.compute((32, 32), lambda i, j: x[i, j] * 2.0)])
    assert transpose_rule(func, resolve("cpu-avx2").device) is None


def test_exchange_transposes() -> None:
    """The shuffles carried out by hand."""
    square = np.arange(64).reshape(8, 8)
    values: dict[object, np.ndarray] = {}

    def bind(expr: object) -> object:
        assert isinstance(expr, tirx.Shuffle)
        both = np.concatenate([values[vector] for vector in expr.vectors])
        var = tirx.Var("v", "int32x8")
        values[var] = both[[int(index) for index in expr.indices]]
        return var

    rows = [tirx.Var(f"r{row}", "int32x8") for row in range(8)]
    values.update(dict(zip(rows, square, strict=True)))
    np.testing.assert_array_equal(np.stack([values[var] for var in exchange(rows, bind)]), square.T)
