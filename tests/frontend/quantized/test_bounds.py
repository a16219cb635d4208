"""Intervals of float values: no input leaves them, and single operations reach their ends."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from tilewright.frontend.quantized.bounds import Bounds, is_pair
from tilewright.integer.capabilities import Capabilities
from tilewright.passes.execution import runner

from . import models
from .models import Qdq

LOW, HIGH = -2.56, 2.54  # of 8 bits with a scale of 0.02 and a zero point of 128


def of_output(q: Qdq, value: str, *shape: int) -> tuple[float, float] | None:
    model = models.load(q.build({value: shape}))
    return Bounds(Capabilities()).of(model.graph.outputs[0])


@pytest.mark.parametrize(
    ("kind", "ends"),
    [
        ("Add", (2 * LOW, 2 * HIGH)),
        ("Sub", (LOW - HIGH, HIGH - LOW)),
        ("Mul", (LOW * HIGH, LOW * LOW)),
        ("Sigmoid", (1 / (1 + np.exp(-LOW)), 1 / (1 + np.exp(-HIGH)))),
        ("GlobalAveragePool", (LOW, HIGH)),
    ],
)
def test_single_operations(kind: str, ends: tuple[float, float]) -> None:
    """Against arithmetic by hand, in float32."""
    q = Qdq()
    x = q.quantize(q.input(1, 4, 2, 2), 0.02)
    y = q.quantize(q.node("MaxPool", x, kernel_shape=[1, 1]), 0.02)
    operands = (x, y) if kind in ("Add", "Sub", "Mul") else (x,)
    size = 1 if kind.startswith("Global") else 2
    found = of_output(q, q.node(kind, *operands), 1, 4, size, size)
    np.testing.assert_allclose(found, ends, rtol=1e-5)


def test_no_input_leaves_them() -> None:
    """A gate over a convolution's result, as in squeeze and excitation."""
    q = Qdq(3)
    y = q.conv(q.quantize(q.input(1, 4, 5, 5), 0.02), 6, 4)
    gated = q.node("Mul", y, q.node("HardSigmoid", q.conv(q.quantize(q.node("GlobalAveragePool", y), 0.02), 6, 6, 1)))
    model = models.load(q.build({gated: (1, 6, 5, 5)}))
    found = Bounds(Capabilities()).of(model.graph.outputs[0])
    assert found is not None
    run, random = runner(model), np.random.default_rng(0)
    for _ in range(20):
        (value,) = run({"x": random.uniform(-9, 9, (1, 4, 5, 5)).astype(np.float32)}).values()
        assert found[0] <= value.min()
        assert value.max() <= found[1]


@pytest.mark.parametrize("kind", ["Log", "Reciprocal", "Softmax"])
def test_what_has_no_interval(kind: str) -> None:
    """Infinite results, and operators that are unknown."""
    q = Qdq()
    x = q.quantize(q.input(1, 4), 0.02)
    assert of_output(q, q.node(kind, q.node("Relu", x)), 1, 4) is None
    q = Qdq()
    assert of_output(q, q.node("Sigmoid", q.input(1, 4)), 1, 4) is None  # its operand may be anything


def test_pairs_are_of_two_tensors() -> None:
    q = Qdq()
    x = q.input(1, 4)
    model = models.load(
        q.build({q.node("Mul", x, q.node("Sigmoid", x)): (1, 4), q.node("Mul", x, q.node("Softmax", x)): (1, 4)})
    )
    nodes: list[ir.Node] = [value.producer() for value in model.graph.outputs if value.producer() is not None]  # type: ignore[misc]
    assert [is_pair(node) for node in nodes] == [False, True]
