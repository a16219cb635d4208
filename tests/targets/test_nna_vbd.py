"""Whole networks on nna-vbd: compiled, saved, loaded, run on the simulated device."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

import tilewright
from tests.frontend.quantized import models
from tests.frontend.quantized.models import Qdq
from tilewright.cli import main
from tilewright.frontend.quantized import offload
from tilewright.integer.depths import DEPTHS
from tilewright.integer.network import Convolution, Lookup, run
from tilewright.lower.vbd import CAPABILITIES, compile_network
from tilewright.passes.execution import runner
from tilewright.runtime import Session


def outputs(model: onnx.ModelProto, path: Path, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of the artifact on the simulated device, and of onnxruntime, which computes in float between quantizers."""
    tilewright.compile(model, "nna-vbd").save(path)
    session = Session(path)
    assert session.device.endswith("and a simulated NNA")
    (got,), (want,) = session.run({"x": x}).values(), runner(models.load(model))({"x": x}).values()
    return got, want


def test_an_artifact_computes_what_the_reference_defines(tmp_path: Path) -> None:
    """Bit for bit: the result is the reference's accumulators times float scales."""
    path = tmp_path / "model.tw"
    tilewright.compile(models.residual(), "nna-vbd-2048").save(path)
    session = Session(path)
    (name,) = (tensor.name for tensor in session.outputs)
    made = offload(models.load(models.residual()), compile_network, CAPABILITIES)
    ((_, network, _),) = made.parts
    scales = made.model.graph.initializers[f"{name}.scales"].const_value
    assert scales is not None
    x = np.random.default_rng(0).uniform(-2.5, 2.5, (1, 4, 12, 12)).astype(np.float32)
    integers = np.clip(np.rint(x / np.float32(0.02)) + 128, 0, 255)[0].transpose(1, 2, 0)
    (want,) = run(network, [integers])
    np.testing.assert_array_equal(session.run({"x": x})[name], want.reshape(1, -1).astype(np.float32) * scales.numpy())


@pytest.mark.parametrize("bits", DEPTHS)
def test_quantizers_of_every_depth(bits: int, tmp_path: Path) -> None:
    """Maps have the quantizers' depth. A value between two steps may go the other way in float: one of 64 inputs of the
    last layer then differs by a step."""
    model = models.fake_quantized(bits)
    x = np.random.default_rng(4).uniform(-1, 1, (1, 4, 8, 8)).astype(np.float32)
    got, want = outputs(model, tmp_path / "model.tw", x)
    step = 2 / (2**bits - 1)
    assert np.abs(got - want).max() <= step * 7 * 0.01 * 1.01
    made = offload(models.load(model), compile_network, CAPABILITIES)
    ((_, network, stream),) = made.parts
    assert made.host == {}
    assert {source.affine.bits for source in network.maps} == {bits, 32}
    assert [layer.weight_bits for layer in stream.layers] == [8, 0, 4]


@pytest.mark.parametrize(("bits", "most", "depth"), [(4, 7, 4), (16, 500, 10), (16, 2000, 12), (16, 30000, 16)])
def test_weights_have_the_depth_that_holds_them(bits: int, most: int, depth: int) -> None:
    """QDQ weights of ONNX's INT4 and INT16 stay the integers that they are."""
    q = Qdq()
    x = q.quantize(q.input(1, 3, 4, 4), 0.02)
    weights = q.random.integers(-most, most + 1, (5, 3, 1, 1))
    weights[0, 0] = most
    scale = q.constant(np.full(5, 2.0**-9 / most), "float32")
    name = q.constant(weights, "int16")
    if bits == 4:
        q.constants[name] = weights.astype(onnx.helper.tensor_dtype_to_np_dtype(onnx.TensorProto.INT4))
    y = q.node("Conv", x, q.node("DequantizeLinear", name, scale, axis=0))
    proto = q.build({q.quantize(y, 0.02): (1, 5, 4, 4)}, check=False)
    proto.opset_import[0].version = 21  # the first with these types
    model = models.load(proto)
    ((_, network, _),) = offload(model, compile_network, CAPABILITIES).parts
    (layer,) = network.operations
    assert isinstance(layer, Convolution)
    assert layer.bits == depth
    np.testing.assert_array_equal(layer.weights[:, 0, 0], weights[:, :, 0, 0])


def hard_swish(q: Qdq, value: str) -> str:
    """As exporters write it out."""
    gate = q.node("Clip", q.node("Add", value, q.constant(3, "float32")), q.constant(0, "float32"),
                  q.constant(6, "float32"))  # fmt: skip
    return q.node("Div", q.node("Mul", value, gate), q.constant(6, "float32"))


def test_functions_behind_a_layer_run_on_the_device(tmp_path: Path) -> None:
    """Hard-swish between a convolution and its quantizer, and a scale behind it: 16 bits and a table. Against float:
    two steps of the output, as both quantizers may round the other way."""
    q = Qdq(5)
    x = q.quantize(q.input(1, 4, 6, 6), 0.02)
    y = q.node("Mul", hard_swish(q, q.conv(x, 8, 4)), q.constant(1.5, "float32"))
    y = q.quantize(y, 0.03)
    model = q.build({q.quantize(q.conv(y, 4, 8, 1), 0.02): (1, 4, 6, 6)})
    made = offload(models.load(model), compile_network, CAPABILITIES)
    assert made.host == {}
    ((_, network, _),) = made.parts
    kinds = [type(operation) for operation in network.operations]
    assert kinds == [Convolution, Lookup, Convolution]
    assert network.maps[network.operations[0].target].affine.bits == 16
    data = np.random.default_rng(6).uniform(-2.5, 2.5, (1, 4, 6, 6)).astype(np.float32)
    got, want = outputs(model, tmp_path / "model.tw", data)
    assert np.abs(got - want).max() <= 2 * 0.02
    assert np.unique(want).size > 20


def test_squeeze_and_excitation(tmp_path: Path) -> None:
    """Nothing between the convolutions is quantized but what they read: the rest gets 16 bits.

    Against float: two steps of the output.
    """
    q = Qdq(6)
    x = q.quantize(q.input(1, 4, 6, 6), 0.02)
    y = hard_swish(q, q.conv(x, 8, 4))
    gate = q.quantize(q.node("GlobalAveragePool", y), 0.02)
    gate = q.quantize(q.node("Relu", q.conv(gate, 4, 8, 1)), 0.02)
    gate = q.node("HardSigmoid", q.conv(gate, 8, 4, 1))
    y = q.quantize(q.node("Mul", y, gate), 0.02)
    model = q.build({q.quantize(q.conv(y, 4, 8, 1), 0.02): (1, 4, 6, 6)})
    made = offload(models.load(model), compile_network, CAPABILITIES)
    assert made.host == {}
    ((_, _, stream),) = made.parts
    assert {layer.operation for layer in stream.layers} == {"CONVOLUTION", "TABLE", "DEPTHWISE", "MULTIPLY"}
    data = np.random.default_rng(6).uniform(-2.5, 2.5, (1, 4, 6, 6)).astype(np.float32)
    got, want = outputs(model, tmp_path / "model.tw", data)
    assert np.abs(got - want).max() <= 2 * 0.02 + 1e-6
    assert np.unique(want).size > 20


def test_rows_of_features_with_a_bias_behind_the_product(tmp_path: Path) -> None:
    """(1, rows, features) by a matrix: a convolution of 1 x 1, its bias a sum of its own."""
    q = Qdq(7)
    x = q.quantize(q.input(1, 5, 12), 0.02)
    y = q.node("MatMul", x, q.weight(12, 7, axis=1))
    y = q.node("Add", y, q.constant(q.random.normal(size=7) * 0.1, "float32"))
    model = q.build({q.node("MatMul", q.quantize(y, 0.02), q.weight(7, 3, axis=1)): (1, 5, 3)})
    made = offload(models.load(model), compile_network, CAPABILITIES)
    assert made.host == {}
    data = np.random.default_rng(8).uniform(-2.5, 2.5, (1, 5, 12)).astype(np.float32)
    got, want = outputs(model, tmp_path / "model.tw", data)
    np.testing.assert_allclose(got, want, atol=0.02 * 2)  # a step of one of seven inputs


def test_concatenation_resizing_and_gates(tmp_path: Path) -> None:
    """A gate for each channel multiplies a map: operands broadcast. Against float: a step of each operand."""
    q = Qdq(9)
    x = q.quantize(q.input(1, 4, 4, 4), 0.02)
    y = q.quantize(q.conv(x, 4, 4), 0.02)
    both = q.quantize(q.node("Concat", x, y, axis=1), 0.02)
    gate = q.quantize(q.node("GlobalAveragePool", both), 0.02)
    product = q.quantize(q.node("Mul", both, gate), 0.01)
    attributes = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    wide = q.quantize(q.node("Resize", product, "", q.constant([1, 1, 2, 3], "float32"), **attributes), 0.01)
    model = q.build({wide: (1, 8, 8, 12)})
    made = offload(models.load(model), compile_network, CAPABILITIES)
    assert made.host == {}
    names = [layer.operation for _, _, stream in made.parts for layer in stream.layers]
    assert names == ["CONVOLUTION", "CONCAT", "AVERAGE", "MULTIPLY", "RESIZE"]
    data = np.random.default_rng(8).uniform(-2.5, 2.5, (1, 4, 4, 4)).astype(np.float32)
    got, want = outputs(model, tmp_path / "model.tw", data)
    assert np.abs(got - want).max() <= 0.02 * 2.56 * 2 + 0.01


def small_network() -> onnx.ModelProto:
    """Float: a convolution, a depthwise one, a mean, a fully connected layer."""
    q = Qdq(1)

    def weight(*shape: int) -> str:
        return q.constant(q.random.normal(size=shape) * 0.2, "float32")

    y = q.node("Relu", q.node("Conv", q.input(1, 4, 8, 8), weight(8, 4, 3, 3), weight(8), pads=[1] * 4))
    y = q.node("Conv", y, weight(8, 1, 3, 3), weight(8), pads=[1] * 4, group=8)
    y = q.node("Flatten", q.node("GlobalAveragePool", y))
    return q.build({q.node("Gemm", y, weight(10, 8), transB=1): (1, 10)})


@pytest.mark.parametrize(
    ("weights", "activations", "depths", "error"),
    [
        ("vbd(4,per=tensor)", 8, {4}, 0.3),
        ("vbd(5)", 6, {4, 5, 6}, 0.3),
        ("int3", 16, {4}, 0.5),
        ("int6", 5, {4, 6}, 0.2),
        ("int5(asymmetric)", 10, {4, 6}, 0.1),
        ("vbd(16,per=tensor)", 16, {4, 16}, 1e-3),
    ],
)
def test_recipes(weights: str, activations: int, depths: set[int], error: float, tmp_path: Path) -> None:
    """Every form of weights; the mean is a layer of ones. Errors are relative to the float network's outputs, of some
    steps of the shallower depth; at 16 bits sums are rounded to what 32 bits hold."""
    random, model = np.random.default_rng(3), small_network()
    samples = [{"x": random.normal(size=(1, 4, 8, 8)).astype(np.float32)} for _ in range(4)]
    path = tmp_path / "model.tw"
    recipe = {"quantize": {"weights": weights, "activations": activations}}
    artifact = tilewright.compile(model, "nna-vbd", recipe=recipe, calibration=samples)
    artifact.save(path)
    assert artifact.metadata["nna"]["host"] == {}
    (part,) = artifact.metadata["nna"]["parts"]
    assert {layer["weight_bits"] for layer in part["layers"]} == depths
    assert {layer["input_bits"] for layer in part["layers"]} == {activations}
    (got,), (want,) = Session(path).run(samples[0]).values(), runner(models.load(model))(samples[0]).values()
    assert np.linalg.norm(got - want) / np.linalg.norm(want) < error


def test_inspect_prints_streams(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "model.tw"
    tilewright.compile(models.interrupted(), "nna-vbd").save(path)
    assert main(["inspect", str(path)]) == 0
    text = capsys.readouterr().out
    assert "3 layers in 2 command streams" in text
    assert "its operator has no integer form" in text
    assert main(["inspect", str(path), "--stream"]) == 0
    text = capsys.readouterr().out
    assert text.count("nna-vbd-2048") == 2
    assert text.count("CONVOLUTION") == 2
