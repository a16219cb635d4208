"""QuantizeLinear and DequantizeLinear in place of quantizers of any depth."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from hypothesis import given
from hypothesis import strategies as st

from tests.frontend.quantized import models
from tilewright.frontend.quantized.pairs import clamped_pair
from tilewright.frontend.quantized.values import constant
from tilewright.passes.fake_quantize import Quantizer


def applied(quantizer: Quantizer, symmetric: bool, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What the nodes for 16-bit integers make of numbers: the integers, and the numbers that come back."""
    graph = models.load(models.residual()).graph
    value = graph.inputs[0]
    nodes = clamped_pair(graph, value, quantizer, 16, "pair", value, symmetric)
    for node in nodes:
        if node.op_type == "Clip":
            x = np.clip(x, *(constant(limit) for limit in node.inputs[1:]))
    scale, zero = (constant(operand) for operand in nodes[-1].inputs[1:])
    assert scale is not None
    assert zero is not None
    assert (zero.dtype == np.int16 and zero == 0) if symmetric else zero.dtype == np.uint16
    assert nodes[-1].inputs[0].dtype == ir.DataType.from_numpy(zero.dtype)
    info = np.iinfo(zero.dtype)
    integers = np.clip(np.rint(x / scale) + zero, info.min, info.max)
    return integers, (integers - zero) * scale


@given(st.integers(9, 16), st.booleans(), st.floats(0, 1), st.booleans(), st.integers(0, 99))
def test_the_grid_stays(bits: int, signed: bool, share: float, symmetric: bool, seed: int) -> None:
    """Exactly (but for float32) below 16 bits; there without a zero point numbers move by half of a step that is up to
    twice as large."""
    low = -(1 << bits - 1) if signed else 0
    quantizer = Quantizer(bits, signed, 2.0**-7, low + round(share * ((1 << bits) - 1)))
    ends = [(end - quantizer.zero_point) * quantizer.scale for end in (quantizer.low, quantizer.high)]
    x = np.random.default_rng(seed).uniform(*ends, 200).astype(np.float32)
    got = applied(quantizer, symmetric, x)[1]
    most = 0.0 if bits < 16 or not symmetric else 1.5
    assert np.abs(got - quantizer.apply(x)).max() <= most * quantizer.scale
