"""Quantizers before what only picks or moves elements. Tolerance 0: a quantizer is monotone."""

from __future__ import annotations

import numpy as np
import pytest

from tilewright.frontend.quantized.hoist import hoist
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
