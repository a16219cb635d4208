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
from tilewright.targets import device_facts
from tilewright.targets.base import Device
from tilewright.targets.schedules.cpu_matmul import Matmul, pack_matrix
from tilewright.targets.schedules.cpu_tile import Core


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


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(products(), st.integers(0, 2))
def test_equals_onnxruntime(case: tuple[onnx.ModelProto, dict[str, np.ndarray]], level: int) -> None:
    model, feeds = case
    levels = levels_here()
    check(model, feeds, levels[level % len(levels)])


@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.integers(1, 60), st.integers(40, 300), st.integers(1, 150), st.integers(0, 2), st.integers(1, 2))
def test_weights_that_fit_no_cache(rows: int, depth: int, columns: int, level: int, threads: int) -> None:
    """A device of such small caches that tiles of rows take turns, whatever the rest of rows, steps and columns."""
    model, feeds = product_model([rows, depth], [depth, columns], True)
    levels = levels_here()
    check(model, feeds, f"{levels[level % len(levels)]}:l1_bytes=8192,l2_bytes=8192", threads=threads)


LEVEL_1, LEVEL_2 = 8192, 65536


@given(st.integers(1, 300), st.integers(1, 5000), st.integers(1, 600))
def test_turns_stay_within_the_caches(rows: int, depth: int, columns: int) -> None:
    facts = {**device_facts("cpu-avx512"), "l1_bytes": LEVEL_1, "l2_bytes": LEVEL_2}
    shape = Matmul.constant((), rows, depth, columns, Core.of(Device("cpu-avx512", facts)))
    assert shape.group % shape.tile == 0
    assert 1 <= shape.block <= depth
    if shape.group > shape.tile:
        assert 4 * shape.panel * (shape.block - 1) <= LEVEL_1 // 2
        assert 4 * shape.panel * shape.group <= LEVEL_1 // 2
    if shape.block == depth:
        assert 4 * shape.panel * depth <= max(LEVEL_2 // 2, LEVEL_1 // 2)


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
