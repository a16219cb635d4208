"""Quantizers before what only picks or moves elements. Tolerance 0: a quantizer is monotone."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest

from tilewright.frontend.quantized import offload
from tilewright.frontend.quantized.hoist import hoist
from tilewright.integer.capabilities import Capabilities
from tilewright.integer.network import Network, Operation
from tilewright.passes.execution import runner

from . import models
from .models import Qdq


@pytest.mark.parametrize("clamp", [False, True])
def test_results_stay(clamp: bool) -> None:
    q = Qdq(1)
    x = q.quantize(q.input(1, 4, 8, 8), 0.02)
    y = q.node("MaxPool", q.conv(x, 4, 4), kernel_shape=[2, 2], strides=[2, 2])
    y = q.node("Flatten", q.node("Relu", y) if clamp else y)
    q.zero = 100
    model = models.load(q.build({q.node("Gemm", q.quantize(y, 0.015), q.weight(5, 64), transB=1): (1, 5)}))
    data = np.random.default_rng(2).uniform(-2, 2, (1, 4, 8, 8)).astype(np.float32)
    (want,) = runner(model)({"x": data}).values()
    hoist(model.graph)
    (pool,) = (node for node in model.graph if node.op_type == "MaxPool")
    assert pool.inputs[0] is not None
    above = pool.inputs[0].producer()
    assert above is not None
    assert above.op_type == "DequantizeLinear"
    (got,) = runner(model)({"x": data}).values()
    np.testing.assert_array_equal(got, want)


def test_what_somebody_else_reads_stays() -> None:
    q = Qdq(2)
    x = q.quantize(q.input(1, 4, 8, 8), 0.02)
    y = q.conv(x, 4, 4)
    pool = q.quantize(q.node("MaxPool", y, kernel_shape=[2, 2]), 0.02)
    model = models.load(q.build({pool: (1, 4, 7, 7), q.node("Sin", y): (1, 4, 8, 8)}))
    before = [node.op_type for node in model.graph]
    hoist(model.graph)
    assert [node.op_type for node in model.graph] == before


@pytest.mark.parametrize("clamp", [False, True])
def test_operands_of_a_concatenation(clamp: bool) -> None:
    """Each is quantized as the result is, once for all its places; one that is so already stays."""
    q = Qdq(3)
    x = q.quantize(q.input(1, 4, 8, 8), 0.02)
    y = q.quantize(q.conv(x, 4, 4), 0.03)
    both = q.node("Concat", y, x, y, axis=1)
    both = q.quantize(q.node("Relu", both) if clamp else both, 0.02)
    model = models.load(q.build({q.conv(both, 3, 12): (1, 3, 8, 8)}))
    data = np.random.default_rng(2).uniform(-3, 3, (1, 4, 8, 8)).astype(np.float32)
    (want,) = runner(model)({"x": data}).values()
    hoist(model.graph)
    (got,) = runner(model)({"x": data}).values()
    np.testing.assert_array_equal(got, want)
    joined: list[Network] = []

    class Nothing:
        payload = weights = b""
        workspaces, layers = (0,), ()

    def keep(network: Network) -> Nothing:
        joined.append(network)
        return Nothing()

    assert offload(model, keep, Capabilities(operations=get_args(Operation))).host == {}
    kinds = sorted(type(operation).__name__ for operation in joined[0].operations)
    assert kinds == ["Concat", "Convolution", "Convolution", "Lookup", *(["Lookup"] if clamp else [])]
