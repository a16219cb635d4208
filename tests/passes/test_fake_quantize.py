"""Quantizers in NumPy, as standard nodes and as tilewright.FakeQuantize agree with onnxruntime bit for bit."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.passes.support import parse, run
from tilewright.passes.fake_quantize import BITS, DOMAIN, Quantizer, apply_quantizer, fit

ranges = st.tuples(st.floats(-100, 0, width=32), st.floats(0, 100, width=32)).filter(lambda r: r[1] - r[0] > 1e-6)


@given(ends=ranges, bits=st.sampled_from(BITS), symmetric=st.booleans())
def test_a_fitted_quantizer_holds_the_range_and_zero(ends: tuple[float, float], bits: int, symmetric: bool) -> None:
    quantizer = fit(*ends, bits, symmetric=symmetric)
    assert quantizer.signed == (ends[0] < 0)
    assert quantizer.low <= quantizer.zero_point <= quantizer.high
    assert quantizer.apply(np.zeros(1, np.float32)) == 0
    x = np.linspace(*ends, 257, dtype=np.float32)
    # half a step of rounding, half of moving zero to an integer, and float32's own rounding of the largest values
    reach = (1 + 2.0**-6) * quantizer.scale
    assert np.abs(quantizer.apply(x) - x).max() <= reach
    assert len(np.unique(quantizer.integers(x))) <= 2**bits
    if symmetric:
        assert quantizer.zero_point == 0


@given(ends=ranges, bits=st.sampled_from(BITS))
def test_signed_and_unsigned_integers_give_the_same_values(ends: tuple[float, float], bits: int) -> None:
    x = np.linspace(2 * ends[0], 2 * ends[1], 100, dtype=np.float32)
    first, second = fit(*ends, bits, signed=True), fit(*ends, bits, signed=False)
    assert first.low < 0 == second.low
    np.testing.assert_array_equal(first.apply(x), second.apply(x))


@pytest.mark.parametrize("opset", [13, 21])
@pytest.mark.parametrize("bits", BITS)
@settings(max_examples=3, deadline=None)
@given(ends=ranges, signed=st.booleans())
def test_onnxruntime_computes_what_numpy_does(bits: int, opset: int, ends: tuple[float, float], signed: bool) -> None:
    quantizer = fit(*ends, bits, signed)
    model = parse("g (float[300] x) => (float[300] y) { y = Identity(x) }")
    model.opset_imports[""] = opset
    (identity,) = model.graph
    nodes = apply_quantizer(model, model.graph.inputs[0], quantizer, "x")
    identity.replace_input_with(0, nodes[-1].outputs[0])
    model.graph.insert_before(identity, nodes)
    onnx.checker.check_model(ir.to_proto(model), full_check=True)
    assert (bits == 8) == (DOMAIN not in model.opset_imports)
    x = np.linspace(2 * ends[0], 2 * ends[1], 300, dtype=np.float32)
    np.testing.assert_array_equal(run(model, {"x": x})[0], quantizer.apply(x))


def test_a_body_is_shared() -> None:
    model = parse("g (float[4] x) => (float[4] y) { y = Identity(x) }")
    for index, bits in enumerate((4, 12, 16)):
        apply_quantizer(model, model.graph.inputs[0], Quantizer(bits, True, 0.5, 0), f"q{index}")
    assert len(model.functions) == 1
