"""onnxruntime's own quantizers: static int8 (QDQ), and 4-bit blocks for matrix products (MatMulNBits)."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import onnx
from onnx import numpy_helper

from benchmarks.rivals.base import Feeds, Rival
from benchmarks.zoo.base import Array


def int8_static(source: Path, calibration: Feeds, target: Path) -> None:
    """Weights int8 per channel, activations uint8 by their extremes, as its documentation advises for x86."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime has no types
        def __init__(self) -> None:
            self._feeds: Iterator[dict[str, Array]] = iter(calibration)

        def get_next(self) -> dict[str, Array] | None:
            return next(self._feeds, None)

    with tempfile.TemporaryDirectory() as folder:
        prepared = Path(folder) / "prepared.onnx"
        quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
        quantize = partial(
            quantize_static,
            str(prepared),
            str(target),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
        try:
            quantize(Reader())
        except ValueError:  # its adjustment of scales for int32 biases fails on biases [1, n] (seen in 1.31)
            quantize(Reader(), extra_options={"QDQDisableWeightAdjustForInt32Bias": True})


def _int4(source: Path, calibration: Feeds, target: Path) -> None:
    """Asymmetric blocks of 32 in MatMul and Gather; it leaves convolutions as they are."""
    from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

    logging.getLogger("onnxruntime.quantization.matmul_nbits_quantizer").setLevel(logging.WARNING)
    model = onnx.load(source)
    products_from_gemm(model)
    quantizer = MatMulNBitsQuantizer(
        model, block_size=32, is_symmetric=False, op_types_to_quantize=("MatMul", "Gather")
    )
    quantizer.process()
    onnx.save(quantizer.model.model, target)


def products_from_gemm(model: onnx.ModelProto) -> None:
    """Writes every plain Gemm as MatMul and Add, which is the form that MatMulNBits takes the place of."""
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    nodes = list(model.graph.node)
    del model.graph.node[:]
    for node in nodes:
        settings = {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute}
        plain = settings.get("alpha", 1) == 1 == settings.get("beta", 1) and not settings.get("transA", 0)
        if node.op_type != "Gemm" or not plain or len(node.input) < 3 or node.input[1] not in weights:
            model.graph.node.append(node)
            continue
        x, weight, bias = node.input
        if settings.get("transB", 0):
            turned = numpy_helper.to_array(weights[weight]).T.copy()
            weights[weight].CopyFrom(numpy_helper.from_array(turned, weight))
        product = f"{node.output[0]}.product"
        model.graph.node.append(onnx.helper.make_node("MatMul", [x, weight], [product], name=node.name))
        model.graph.node.append(onnx.helper.make_node("Add", [product, bias], node.output, name=f"{node.name}.bias"))


RIVALS = (
    Rival("onnxruntime int8", "onnxruntime", True, int8_static),
    Rival("onnxruntime int4 b32", "onnxruntime", False, _int4),
)
