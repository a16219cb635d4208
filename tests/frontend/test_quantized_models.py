"""Models that onnxruntime's quantizers made: compiled with matching outputs, or refused with the layer and a remedy."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper
from onnxruntime import quantization

from tests.models import make_model, small_cnn
from tests.passes.support import run
from tilewright import compile, compress, frontend
from tilewright.errors import UnsupportedError
from tilewright.passes.already_quantized import already_quantized
from tilewright.passes.calibrate import collect
from tilewright.passes.quantize_activations import QuantizeActivations, observed
from tilewright.plan import BufferKind
from tilewright.runtime import Session

Quantize = Callable[..., onnx.ModelProto]
Feed = dict[str, npt.NDArray[Any]]


def samples(count: int) -> Iterator[Feed]:
    rng = np.random.default_rng(0)
    for _ in range(count):
        yield {"x": rng.standard_normal((1, 3, 16, 16)).astype(np.float32)}


class Reader(quantization.CalibrationDataReader):
    """Calibration data as onnxruntime wants them."""

    def __init__(self) -> None:
        self.left = samples(4)

    def get_next(self) -> Feed | None:
        return next(self.left, None)


@pytest.fixture
def quantize(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> Quantize:
    caplog.set_level(logging.ERROR)  # the quantizer recommends its own preprocessing

    def apply(dynamic: bool = False, **options: Any) -> onnx.ModelProto:
        source, result = tmp_path / "float.onnx", tmp_path / "quantized.onnx"
        onnx.save(small_cnn(), source)
        if dynamic:
            quantization.quantize_dynamic(source, result, **options)
        else:
            quantization.quantize_static(source, result, Reader(), **options)
        return onnx.load(result)

    return apply


def compiled(model: onnx.ModelProto, feed: Feed) -> npt.NDArray[Any]:
    artifact = compile(model, "cpu")
    # the weight of the product is stored as the model stores it; the convolution's 216 bytes are not worth a launch
    largest = max((b for b in artifact.plan.buffers if b.kind == BufferKind.CONSTANT), key=lambda b: math.prod(b.shape))
    assert largest.dtype != "float32"
    with Session(artifact.to_bytes()) as session:
        return session.run(feed)["y"]


def reference(model: onnx.ModelProto, feed: Feed) -> npt.NDArray[Any]:
    """onnxruntime node by node: its fused integer kernels may saturate where the standard does not."""
    return run(ir.from_proto(model), feed)[0]


KINDS = quantization.QuantType
STATIC: dict[str, dict[str, Any]] = {
    "uint8, a scale a channel": {"activation_type": KINDS.QUInt8, "weight_type": KINDS.QInt8, "per_channel": True},
    "int8, a scale a tensor": {"activation_type": KINDS.QInt8, "weight_type": KINDS.QInt8},
}


@pytest.mark.parametrize("options", STATIC.values(), ids=STATIC.keys())
def test_static_qdq_models_compile(quantize: Quantize, options: dict[str, Any]) -> None:
    model = quantize(quant_format=quantization.QuantFormat.QDQ, **options)
    feed = next(samples(1))
    # the output is quantized in steps of 1/255; float32 sums in another order may turn a tie
    np.testing.assert_allclose(compiled(model, feed), reference(model, feed), atol=1.01 / 255)


def test_dynamic_models_compile(quantize: Quantize) -> None:
    model = quantize(dynamic=True, weight_type=KINDS.QInt8)
    feed = next(samples(1))
    np.testing.assert_allclose(compiled(model, feed), reference(model, feed), rtol=1e-4, atol=1e-6)
    layers = already_quantized(frontend.load(model).graph)
    assert [layer.reason for layer in layers] == [
        "its weight is quantized already, to INT8 'w_quantized'",
        "its weight is quantized already, to INT8 'w2_quantized'",
    ]


def test_a_range_of_its_own_is_one_kernel_on_gpus(quantize: Quantize) -> None:
    launches = compile(quantize(dynamic=True, weight_type=KINDS.QInt8), "mali").plan.launches
    ranges = [launch.kernel for launch in launches if any("QuantizeLinear" in layer for layer in launch.layers)]
    assert len(ranges) == 2  # before the convolution, and before the product
    assert all("dynamic_quantize" in kernel for kernel in ranges)


def test_fused_integer_operators_are_refused_by_layer(quantize: Quantize) -> None:
    with pytest.raises(UnsupportedError) as caught:
        frontend.load(quantize(quant_format=quantization.QuantFormat.QOperator))
    assert {problem.where for problem in caught.value.problems} == {"fc_quant", "softmax_quant"}
    assert all("QDQ format" in problem.remedy for problem in caught.value.problems)


def test_block_quantized_products_are_refused_by_layer() -> None:
    node = helper.make_node(
        "MatMulNBits", ["x", "w", "s"], ["y"], name="fc", domain="com.microsoft", K=32, N=4, bits=4, block_size=32
    )
    relu = helper.make_node("Relu", ["y"], ["z"], name="relu")
    constants = {"w": np.zeros((4, 1, 16), np.uint8), "s": np.ones(4, np.float32)}
    inputs: dict[str, tuple[int, list[int | str]]] = {"x": (TensorProto.FLOAT, [2, 32])}
    outputs: dict[str, tuple[int, list[int | str]]] = {"z": (TensorProto.FLOAT, [2, 4])}
    graph = make_model([helper.make_node("Relu", ["x"], ["z"])], inputs, {"z": (TensorProto.FLOAT, [2, 32])})
    model = onnx.helper.make_model(
        helper.make_graph(
            [node, relu],
            "g",
            graph.graph.input,
            [helper.make_tensor_value_info("z", *outputs["z"])],
            [onnx.numpy_helper.from_array(value, name) for name, value in constants.items()],
        ),
        opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)],
        ir_version=10,
    )
    with pytest.raises(UnsupportedError) as caught:
        frontend.load(model)
    # what follows from an unsupported layer is not reported as a problem of its own
    assert [problem.where for problem in caught.value.problems] == ["fc"]
    assert "com.microsoft.MatMulNBits" in caught.value.problems[0].what


def test_compression_leaves_quantized_layers_alone(quantize: Quantize) -> None:
    model = quantize(quant_format=quantization.QuantFormat.QDQ)
    graph = frontend.load(model)
    assert [(layer.layer, layer.reason) for layer in already_quantized(graph.graph)] == [
        ("conv.1", "its weight is quantized already, to INT8 'w_quantized'"),
        ("fc", "its weight is quantized already, to INT8 'w2_quantized'"),
    ]
    feed = next(samples(1))
    result = compress(model, {"quantize": {"weights": "int4"}})
    assert not any(node.domain == "tilewright" for node in result.graph.node)
    np.testing.assert_array_equal(reference(result, feed), reference(model, feed))
    step = QuantizeActivations(lambda node: 8, collect(graph, [feed], observed(graph, lambda node: 8)))
    assert not step(graph).modified
    assert {fallback.reason for fallback in step.fallbacks} == {"its activations are quantized already"}
