"""Quantized activations: where the nodes go, that onnxruntime fuses them, and how far the outputs move."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper

from tests.models import make_model, small_cnn
from tests.passes.support import normal, operators, run
from tilewright.errors import ModelError, RecipeError
from tilewright.formats.registry import parse
from tilewright.numeric import relative_l2
from tilewright.passes import normalise
from tilewright.passes import run as run_passes
from tilewright.passes.activation_plan import Rule
from tilewright.passes.calibrate import Statistics, collect
from tilewright.passes.encode import Encode
from tilewright.passes.fake_quantize import fit
from tilewright.passes.quantize_activations import QuantizeActivations, observed

FLOAT = TensorProto.FLOAT
Array = npt.NDArray[np.float32]


def prepared(model: onnx.ModelProto) -> ir.Model:
    return normalise(ir.from_proto(model), {}, keep=lambda node: True)


def feeds_of(model: ir.Model, count: int = 4) -> list[dict[str, Array]]:
    rng = np.random.default_rng(0)
    (x,) = model.graph.inputs
    assert x.shape is not None
    return [{x.name or "": rng.standard_normal(x.shape.numpy()).astype(np.float32)} for _ in range(count)]


def everything(node: ir.Node) -> int | None:
    return 8


def quantized(model: ir.Model, rule: Rule = everything, statistics: Statistics | None = None) -> QuantizeActivations:
    """Applies the pass; onnx's checker accepts the result."""
    seen = statistics or collect(model, feeds_of(model), observed(model, rule))
    step = QuantizeActivations(rule, seen, "minmax")
    step(model)
    onnx.checker.check_model(ir.to_proto(model), full_check=True)
    return step


def with_integer_weights(model: ir.Model) -> ir.Model:
    """The second inputs of Conv, Gemm and MatMul as int8 of one scale a channel, dequantized."""
    for node in list(model.graph):
        value = node.inputs[1] if node.op_type in ("Conv", "Gemm", "MatMul") else None
        if value is None or value.const_value is None:
            continue
        weight = value.const_value.numpy()
        axis = 1 if node.op_type == "MatMul" else 0
        shape = [-1 if place == axis else 1 for place in range(weight.ndim)]
        scale = np.abs(weight).max(axis=tuple(set(range(weight.ndim)) - {axis})) / np.float32(127)
        integers = np.rint(weight / scale.reshape(shape)).astype(np.int8)
        arrays = {"q": integers, "s": scale.astype(np.float32), "z": np.zeros(scale.shape, np.int8)}
        inputs = []
        for part, array in arrays.items():
            tensor = ir.Tensor(array, name=f"{node.name}.{part}")
            inputs.append(ir.Value(name=tensor.name, const_value=tensor, shape=tensor.shape))
            inputs[-1].type = ir.TensorType(tensor.dtype)
            model.graph.register_initializer(inputs[-1])
        dequantize = ir.node("DequantizeLinear", inputs, {"axis": axis}, name=f"{node.name}.dequantize")
        dequantize.outputs[0].name, dequantize.outputs[0].type = f"{node.name}.float", value.type
        dequantize.outputs[0].shape = value.shape
        node.replace_input_with(1, dequantize.outputs[0])
        model.graph.insert_before(node, dequantize)
    return model


def residual() -> onnx.ModelProto:
    """Two convolutions and an addition, average pooling, reshape, ReLU6, a product of activations, softmax."""
    n = helper.make_node
    nodes = [
        n("Conv", ["x", "w1", "b1"], ["c1"], name="c1", pads=[1] * 4),
        n("Clip", ["c1", "zero", "six"], ["r1"], name="r1"),
        n("Conv", ["r1", "w2"], ["c2"], name="c2", pads=[1] * 4),
        n("Add", ["c2", "r1"], ["a"], name="add"),
        n("AveragePool", ["a"], ["p"], name="pool", kernel_shape=[2, 2], strides=[2, 2]),
        n("Conv", ["p", "w2"], ["c3"], name="c3", pads=[1] * 4),
        n("Relu", ["c3"], ["r3"], name="r3"),
        n("Reshape", ["r3", "shape"], ["f"], name="reshape"),
        n("MatMul", ["f", "w4"], ["m"], name="fc"),
        n("Add", ["m", "b4"], ["mb"], name="bias"),
        n("MatMul", ["f", "w4"], ["m2"], name="fc2"),
        n("Transpose", ["m2"], ["t"], name="turn", perm=[0, 2, 1]),
        n("MatMul", ["mb", "t"], ["scores"], name="scores"),
        n("Softmax", ["scores"], ["y"], name="softmax"),
    ]
    constants = {
        **{"w1": normal(8, 3, 3, 3), "b1": normal(8), "w2": normal(8, 8, 3, 3) / 4, "w4": normal(16, 5) / 8},
        **{"b4": normal(5), "shape": np.array([1, 8, 16]), "zero": np.float32(0), "six": np.float32(6)},
    }
    return make_model(nodes, {"x": (FLOAT, [1, 3, 8, 8])}, {"y": (FLOAT, [1, 8, 8])}, constants)


def test_layers_tensors_and_clamps() -> None:
    model = with_integer_weights(prepared(residual()))
    step = quantized(model)
    read = {layer.layer: layer.tensors for layer in step.layers}
    assert read == {
        **{"c1": ("x",), "c2": ("r1",), "add": ("r1", "c2"), "pool": ("a",)},
        **{"c3": ("p",), "fc": ("r3",), "fc2": ("r3",), "scores": ("mb", "m2")},
    }
    assert step.fallbacks == []
    found = operators(model)
    assert found["Clip"] == found["Relu"] == 0  # the quantizers saturate where they did
    (scores,) = [node for node in model.graph if node.name == "scores"]
    assert [producer_of(value) for value in scores.inputs] == ["DequantizeLinear", "DequantizeLinear"]
    # the values that are moved are quantized on both sides: r3 and f, m2 and t
    names = {node.inputs[0].name for node in model.graph if node.op_type == "QuantizeLinear" and node.inputs[0]}
    assert names == {"x", "c1", "c2", "a", "p", "c3", "f", "mb", "m2", "t"}


def producer_of(value: ir.Value | None) -> str:
    producer = value.producer() if value is not None else None
    return producer.op_type if producer is not None else ""


def test_it_computes_what_quantizers_in_numpy_say() -> None:
    """One product whose operand is quantized: exact integers on both sides, and float32 sums of 16 of them."""
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"], name="fc")]
    model = prepared(make_model(nodes, {"x": (FLOAT, [3, 16])}, {"y": (FLOAT, [3, 4])}, {"w": normal(16, 4)}))
    feeds = feeds_of(model)
    (tensor,) = quantized(model).tensors
    data = np.concatenate([feed["x"] for feed in feeds])
    assert tensor.quantizer == fit(float(data.min()), float(data.max()), 8, signed=False)
    want = tensor.quantizer.apply(feeds[0]["x"]) @ normal(16, 4)
    np.testing.assert_allclose(run(model, feeds[0])[0], want, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("bits", [4, 6, 8, 12, 16])
def test_errors_shrink_with_the_depth(bits: int) -> None:
    model = prepared(residual())
    feed = feeds_of(model)[0]
    before = run(model, feed)[0]
    step = quantized(model, lambda node: bits)
    assert {layer.bits for layer in step.layers} == {bits}
    assert operators(model)["FakeQuantize"] > 0
    # half a step of 2**-bits of the range for each of seven tensors in a row, and softmax that makes it larger
    error = relative_l2(run(model, feed)[0], before)
    assert 2.0 ** -(bits + 3) < error < 16 * 2.0**-bits


def encoded(model: ir.Model) -> ir.Model:
    """Weights stored in our own int8 format."""
    Encode(lambda weight: parse("int8"))(model)
    return model


@pytest.mark.parametrize("stored", [with_integer_weights, encoded])
def test_onnxruntime_fuses_integer_kernels(stored: Callable[[ir.Model], ir.Model], tmp_path: Path) -> None:
    model = stored(prepared(residual()))
    feed = feeds_of(model)[0]
    before = run(model, feed)[0]
    step = quantized(model)
    assert not any(tensor.quantizer.signed for tensor in step.tensors)
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.optimized_model_filepath = str(tmp_path / "fused.onnx")
    session = ort.InferenceSession(ir.to_proto(model).SerializeToString(), options, providers=["CPUExecutionProvider"])
    fused = Counter(node.op_type for node in onnx.load(tmp_path / "fused.onnx").graph.node)
    assert fused["QLinearConv"] == 3
    assert fused["QLinearAdd"] == fused["QLinearAveragePool"] == 1
    assert fused["Conv"] == fused["MatMul"] == fused["AveragePool"] == 0
    # integer kernels round once where float ones do not: one step of 8 bits in a few elements
    assert relative_l2(session.run(None, feed)[0], before) < 0.05


def test_float_weights_are_not_quantized_behind_our_back() -> None:
    """onnxruntime would quantize them with one scale a tensor; here a channel a thousand times the others shows it."""
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], name="c"),
        helper.make_node("Conv", ["c", "w2"], ["y"], name="d"),
    ]
    weight = normal(4, 3, 1, 1)
    weight[0] *= 1000
    second = normal(4, 4, 1, 1)
    second[:, 0] = 0
    image = (FLOAT, [1, 3, 8, 8])
    model = prepared(make_model(nodes, {"x": image}, {"y": (FLOAT, [1, 4, 8, 8])}, {"w": weight, "w2": second}))
    feed = feeds_of(model)[0]
    quantized(model, lambda node: 8 if node.name == "c" else 16)
    session = ort.InferenceSession(ir.to_proto(model).SerializeToString(), providers=["CPUExecutionProvider"])
    # the same graph with and without onnxruntime's optimizations: rounding of float32, and one step where a tie turns
    assert relative_l2(session.run(None, feed)[0], run(model, feed)[0]) < 1e-2


def test_one_product_of_activations_has_both_operands_quantized() -> None:
    nodes = [
        helper.make_node("Softmax", ["x"], ["s"], name="softmax"),
        helper.make_node("MatMul", ["s", "x"], ["m"], name="product"),
        helper.make_node("Add", ["m", "x"], ["y"], name="residual"),
    ]
    model = prepared(make_model(nodes, {"x": (FLOAT, [4, 4])}, {"y": (FLOAT, [4, 4])}))
    step = quantized(model)
    assert [(layer.layer, layer.tensors) for layer in step.layers] == [("product", ("s", "x"))]
    (add,) = [node for node in model.graph if node.op_type == "Add"]
    assert [value.name for value in add.inputs if value is not None] == ["m", "x"]  # the residual stream stays float


def test_depths_differ_and_a_shared_tensor_has_the_largest() -> None:
    depths = {"c2": 4, "add": 6}
    step = quantized(prepared(residual()), lambda node: depths.get(node.name or ""))
    assert {tensor.tensor: tensor.quantizer.bits for tensor in step.tensors} == {"r1": 4}
    assert {fallback.layer for fallback in step.fallbacks} >= {"c1", "c3", "fc", "scores"}
    both = {"c1": 8, **depths}
    step = quantized(prepared(residual()), lambda node: both.get(node.name or ""))
    assert {tensor.tensor: tensor.quantizer.bits for tensor in step.tensors} == {"x": 8, "r1": 6, "c2": 6}


def test_types_of_integers() -> None:
    def signs(rule: Rule, **options: Any) -> dict[str, bool]:
        model = prepared(residual())
        step = QuantizeActivations(rule, collect(model, feeds_of(model), observed(model, rule)), **options)
        step(model)
        assert not options.get("symmetric") or all(tensor.quantizer.zero_point == 0 for tensor in step.tensors)
        return {tensor.tensor: tensor.quantizer.signed for tensor in step.tensors}

    assert set(signs(everything).values()) == {False}
    assert set(signs(everything, integers="int8").values()) == {True}
    by_range = {"x": True, "r1": False, "c2": True, "r3": False}
    for found in (signs(everything, symmetric=True), signs(lambda node: 6)):
        assert {name: found[name] for name in by_range} == by_range


def test_model_outputs_stay_float() -> None:
    model = prepared(small_cnn())
    quantized(model)
    (y,) = model.graph.outputs
    producer = y.producer()
    assert producer is not None
    assert producer.op_type == "Softmax"


def test_a_clamp_that_the_quantizer_does_not_replace_stays() -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["m"], name="fc"),
        helper.make_node("Clip", ["m", "low", "high"], ["c"], name="clip"),
        helper.make_node("MatMul", ["c", "w"], ["y"], name="fc2"),
    ]
    constants = {"w": normal(8, 8), "low": np.float32(1), "high": np.float32(2)}
    model = prepared(make_model(nodes, {"x": (FLOAT, [2, 8])}, {"y": (FLOAT, [2, 8])}, constants))
    quantized(model)
    assert operators(model)["Clip"] == 1  # the range has to hold zero, which lies below the clamp


def test_layers_without_a_range_stay_float_with_the_reason() -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"], name="sound"),
        helper.make_node("Mul", ["a", "nothing"], ["z"], name="vanish"),
        helper.make_node("MatMul", ["z", "w"], ["b"], name="zeros"),
        helper.make_node("Log", ["x"], ["l"], name="log"),
        helper.make_node("MatMul", ["l", "w"], ["c"], name="nans"),
        helper.make_node("Sum", ["a", "b", "c"], ["y"], name="sum"),
        helper.make_node("MatMul", ["half", "whalf"], ["h"], name="halves"),
    ]
    constants = {"w": normal(4, 4), "whalf": normal(4, 4).astype(np.float16), "nothing": np.zeros(4, np.float32)}
    inputs: dict[str, tuple[int, list[int | str]]] = {"x": (FLOAT, [2, 4]), "half": (TensorProto.FLOAT16, [2, 4])}
    outputs: dict[str, tuple[int, list[int | str]]] = {"y": (FLOAT, [2, 4]), "h": (TensorProto.FLOAT16, [2, 4])}
    model = prepared(make_model(nodes, inputs, outputs, constants))
    feeds = [{"x": normal(2, 4), "half": normal(2, 4).astype(np.float16)}]
    statistics = collect(model, feeds, observed(model, everything))
    step = quantized(model, statistics=statistics)
    assert [layer.layer for layer in step.layers] == ["sound"]
    reasons = {fallback.layer: fallback.reason for fallback in step.fallbacks}
    assert reasons["zeros"] == "'z' was zero throughout calibration: its range is unknown"
    assert "NaN or infinite values of 'l'" in reasons["nans"]
    assert reasons["halves"] == "its operand 'half' is FLOAT16, not FLOAT"

    model = prepared(small_cnn())
    step = quantized(model, lambda node: 8 if node.op_type == "Gemm" else None, Statistics({}, 1))
    assert step.layers == step.tensors == []
    assert {fallback.layer: fallback.reason for fallback in step.fallbacks} == {
        "conv.1": "its rule leaves it float",
        "fc": "calibration saw no data of 'f'",
    }


def test_wrong_depths_and_old_models() -> None:
    model = prepared(small_cnn())
    with pytest.raises(RecipeError, match=r"conv\.1: activations of 3 bits"):
        run_passes(model, [QuantizeActivations(lambda node: 3, Statistics({}, 1))])
    model.opset_imports[""] = 12
    with pytest.raises(ModelError, match="opset 13"):
        run_passes(model, [QuantizeActivations(everything, Statistics({}, 1))])
