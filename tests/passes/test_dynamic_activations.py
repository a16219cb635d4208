"""Activations quantized by their own range: what onnxruntime computes, which layers, and refusals."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from tests.passes.support import normal, operators, parse, run
from tilewright.errors import ModelError, RecipeError
from tilewright.passes.dynamic_activations import DYNAMIC_QUANTIZE, DynamicActivations


def network() -> ir.Model:
    """Two layers read one value, one reads another; a product of two activations."""
    model = parse(
        """g (float[2,8] x) => (float[2,4] y) {
            a = MatMul(x, w)
            b = MatMul(x, v)
            c = Add(a, b)
            y = MatMul(c, u)
        }"""
    )
    for name, shape in {"w": (8, 6), "v": (8, 6), "u": (6, 4)}.items():
        value = next(v for node in model.graph for v in node.inputs if v is not None and v.name == name)
        value.const_value = ir.tensor(normal(*shape), name=name)
        model.graph.register_initializer(value)
    for name, node in zip("abcy", model.graph, strict=True):
        node.name = f"layer {name}"
    ir.passes.common.ShapeInferencePass()(model)
    return model


def quantized(x: np.ndarray) -> np.ndarray:
    """ONNX's DynamicQuantizeLinear and back."""
    low, high = np.float32(min(x.min(), 0)), np.float32(max(x.max(), 0))
    scale = (high - low) / np.float32(255)
    zero = np.clip(np.rint(-low / scale), 0, 255)
    return ((np.clip(np.rint(x / scale) + zero, 0, 255) - zero) * scale).astype(np.float32)


def test_layers_read_quantized_values_and_share_them() -> None:
    model = network()
    step = DynamicActivations(lambda node: 8)
    step(model)
    assert step.layers == ["layer a", "layer b", "layer y"]
    assert operators(model)[DYNAMIC_QUANTIZE] == 2  # x once for both
    onnx.checker.check_model(ir.to_proto(model), full_check=True)
    weights = {name: value.const_value.numpy() for name, value in network().graph.initializers.items()}
    x = normal(2, 8)
    q = quantized(x)
    wanted = quantized(q @ weights["w"] + q @ weights["v"]) @ weights["u"]
    # One step of the second quantizer (1/255 of its range): float32 sums in another order may flip a byte.
    np.testing.assert_allclose(run(model, {"x": x})[0], wanted, atol=0.02)
    assert np.abs(wanted - (x @ weights["w"] + x @ weights["v"]) @ weights["u"]).max() > 1e-4


def test_rules_choose() -> None:
    model = network()
    step = DynamicActivations(lambda node: 8 if node.name == "layer y" else None)
    assert step(model).modified
    assert step.layers == ["layer y"]
    untouched = network()
    assert not DynamicActivations(lambda node: None)(untouched).modified
    assert operators(untouched)[DYNAMIC_QUANTIZE] == 0


def test_constants_stay_float() -> None:
    model = parse("g (float[8,3] x) => (float[2,3] y) { y = MatMul(w, x) }")
    value = next(v for node in model.graph for v in node.inputs if v is not None and v.name == "w")
    value.const_value = ir.tensor(normal(2, 8), name="w")
    model.graph.register_initializer(value)
    step = DynamicActivations(lambda node: 8)
    assert not step(model).modified
    assert step.layers == []


def test_refusals() -> None:
    with pytest.raises(RecipeError, match=r"layer a \(4 bits\)"):
        DynamicActivations(lambda node: 4)(network())
    old = network()
    old.graph.opset_imports[""] = 12
    with pytest.raises(ModelError, match="need opset 13"):
        DynamicActivations(lambda node: 8)(old)
