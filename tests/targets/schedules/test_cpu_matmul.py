"""Matrix products on the cpu against onnxruntime, over drawn shapes."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from tests.models import make_model
from tests.targets.running import check, levels_here
from tilewright.targets.schedules.cpu_matmul import pack_matrix


def product_model(left: list[int], right: list[int], constant: bool) -> tuple[onnx.ModelProto, dict[str, np.ndarray]]:
    """relu(left x right + bias), the right operand a constant or an input."""
    rng = np.random.default_rng(0)
    a = rng.standard_normal(left, dtype=np.float32)
    b = rng.standard_normal(right, dtype=np.float32)
    constants = {"bias": rng.standard_normal(right[-1], dtype=np.float32)}
    inputs: dict[str, tuple[int, list[int | str]]] = {"a": (TensorProto.FLOAT, list(left))}
    feeds = {"a": a}
    if constant:
        constants["b"] = b
    else:
        inputs["b"] = (TensorProto.FLOAT, list(right))
        feeds["b"] = b
    nodes = [
        helper.make_node("MatMul", ["a", "b"], ["m"]),
        helper.make_node("Add", ["m", "bias"], ["s"]),
        helper.make_node("Relu", ["s"], ["y"]),
    ]
    shape = list(np.matmul(a, b).shape)
    return make_model(nodes, inputs, {"y": (TensorProto.FLOAT, list(shape))}, constants), feeds


@st.composite
def products(draw: st.DrawFn) -> tuple[onnx.ModelProto, dict[str, np.ndarray]]:
    rows, depth, columns = draw(st.integers(1, 20)), draw(st.integers(1, 40)), draw(st.integers(1, 150))
    batch = draw(st.lists(st.integers(1, 3), max_size=2))
    constant = draw(st.booleans())
    other: list[int] = []
    if batch and not constant:
        other = [draw(st.sampled_from([1, size])) for size in batch[draw(st.integers(0, len(batch))) :]]
    return product_model([*batch, rows, depth], [*other, depth, columns], constant)


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(products(), st.integers(0, 2))
def test_equals_onnxruntime(case: tuple[onnx.ModelProto, dict[str, np.ndarray]], level: int) -> None:
    model, feeds = case
    levels = levels_here()
    check(model, feeds, levels[level % len(levels)])


@pytest.mark.parametrize("threads", [1, 2])
def test_large_single_row(threads: int) -> None:
    model, feeds = product_model([1, 600], [600, 1000], True)
    check(model, feeds, levels_here()[-1], threads=threads)


def test_left_operand_broadcasts() -> None:
    model, feeds = product_model([4, 5], [3, 5, 6], False)
    check(model, feeds, levels_here()[-1])


def test_packing_is_a_permutation_padded_with_zeros() -> None:
    weights = np.arange(1, 1 + 3 * 5, dtype=np.float32).reshape(3, 5)
    packed = pack_matrix(weights, 4)
    assert packed.shape == (2, 3, 4)
    for k in range(3):
        for n in range(5):
            assert packed[n // 4, k, n % 4] == weights[k, n]
    assert np.count_nonzero(packed) == weights.size
