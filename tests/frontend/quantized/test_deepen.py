"""Deep integers between a layer and its function: where, and over which range."""

from __future__ import annotations

import numpy as np
import pytest

from tilewright.frontend.quantized.deepen import deepen
from tilewright.frontend.quantized.linear import extent
from tilewright.frontend.quantized.values import DEPTH
from tilewright.integer.capabilities import Capabilities
from tilewright.passes.execution import runner

from . import models
from .models import Qdq

DEEP = Capabilities(depths=(8, 16), table_depth=16, fused_tables=True, accumulator_bits=48)


@pytest.mark.parametrize(("kind", "low", "high"), [("HardSigmoid", -2.5, 2.5), ("Sigmoid", -7.0, 7.0)])
def test_the_range_is_where_the_result_changes(kind: str, low: float, high: float) -> None:
    """HardSigmoid is 0 below -2.5 and 1 above 2.5; a sigmoid in steps of 1/255 is within half a step of its ends at
    log(2 * 255 - 1) = 6.2. The range may be wider by the grid on which it is found."""
    q = Qdq(3, zero=0)
    x = q.quantize(q.input(1, 4, 6, 6), 0.2)
    y = q.node(kind, q.conv(x, 8, 4))
    model = models.load(q.build({q.quantize(y, 1 / 255): (1, 8, 6, 6)}))
    deepen(model.graph, DEEP)
    (quantizer,) = (node for node in model.graph if node.op_type == "QuantizeLinear" and DEPTH in node.outputs[0].meta)
    assert quantizer.outputs[0].meta[DEPTH] == 16
    constants = [value.const_value for value in quantizer.inputs[1:] if value is not None]
    scale, zero = (float(value.numpy()) for value in constants if value is not None)
    ends = -zero * scale, (65535 - zero) * scale
    assert low * 1.02 <= ends[0] <= low * 0.8
    assert high * 0.8 <= ends[1] <= high * 1.02


def test_nothing_else_changes() -> None:
    """Clamps, functions of what is quantized already, and layers that somebody else reads stay as they are."""
    q = Qdq(4)
    x = q.quantize(q.input(1, 4, 6, 6), 0.02)
    clamped = q.quantize(q.node("Relu", q.conv(x, 4, 4)), 0.02)
    table = q.quantize(q.node("Tanh", clamped), 1 / 128)
    shared = q.conv(table, 4, 4)
    gate = q.quantize(q.node("Sigmoid", shared), 1 / 128)
    model = models.load(q.build({gate: (1, 4, 6, 6), q.node("Sin", shared): (1, 4, 6, 6)}))
    before = [node.op_type for node in model.graph]
    deepen(model.graph, DEEP)
    assert [node.op_type for node in model.graph] == before


def test_no_input_reaches_further() -> None:
    """The bound on a layer's results holds for the inputs that are worst for one of its channels, and is reached."""
    q = Qdq(5)
    x = q.quantize(q.input(1, 4, 1, 1), 0.02)
    model = models.load(q.build({q.conv(x, 3, 4, 1): (1, 3, 1, 1)}))
    layer = model.graph.outputs[0].producer()
    assert layer is not None
    low, high = extent(layer, DEEP)
    run, random = runner(model), np.random.default_rng(0)
    corners = [run({"x": random.choice([-2.56, 2.54], (1, 4, 1, 1)).astype(np.float32)}) for _ in range(64)]
    found = [value for outputs in corners for value in outputs.values()]
    assert low * 1.001 <= min(float(value.min()) for value in found) <= low * 0.9
    assert high * 0.9 <= max(float(value.max()) for value in found) <= high * 1.001


def test_long_chains() -> None:
    """Five hundred sums, each of two tensors: their operands get 16 bits, and nothing recurses that far."""
    q = Qdq(6)
    x = q.quantize(q.input(1, 4), 0.02)
    y = q.quantize(q.node("Sigmoid", x), 1 / 128)
    total = x
    for _ in range(500):
        total = q.node("Sub", y, total)
    model = models.load(q.build({q.quantize(total, 0.02): (1, 4)}))
    deepen(model.graph, DEEP)
    deep = [node for node in model.graph if node.op_type == "QuantizeLinear" and DEPTH in node.outputs[0].meta]
    assert len(deep) == 499
