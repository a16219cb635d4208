"""onnxruntime: int8 (convolutions by ranges from samples, products by the range of the moment), int4 for products."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable
from pathlib import Path

import onnx

from benchmarks.layers import Layer, bound, session
from benchmarks.rivals.base import RivalError
from benchmarks.rivals.onnxruntime import int8_static, products_from_gemm
from benchmarks.rivals.runtimes.base import Ready, Runtime

Make = Callable[[Path, Path, Layer], None]


def _int8(source: Path, target: Path, layer: Layer) -> None:
    if len(layer.w) == 4:
        int8_static(source, [{"x": sample} for sample in layer.samples()["x"]], target)
        return
    from onnxruntime.quantization import QuantType, quantize_dynamic

    logging.getLogger().setLevel(logging.ERROR)  # it advises pre-processing, which a single layer does not need
    quantize_dynamic(source, target, weight_type=QuantType.QInt8, per_channel=True)


def _int4(source: Path, target: Path, layer: Layer) -> None:
    """Blocks of 32, activations int8 inside (accuracy level 4)."""
    if len(layer.w) == 4:
        raise RivalError("MatMulNBits has no convolution")
    from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

    logging.getLogger("onnxruntime.quantization.matmul_nbits_quantizer").setLevel(logging.WARNING)
    model = onnx.load(source)
    products_from_gemm(model)
    quantizer = MatMulNBitsQuantizer(model, block_size=32, is_symmetric=True, accuracy_level=4)
    quantizer.process()
    onnx.save(quantizer.model.model, target)


def _runtime(make: Make) -> Runtime:
    def ready(layer: Layer) -> Ready:
        matrix = layer.matrix()
        with tempfile.TemporaryDirectory() as folder:
            source, target = Path(folder) / "float.onnx", Path(folder) / "quantized.onnx"
            onnx.save(layer.model(matrix), source)
            make(source, target, layer)
            runtime = session(onnx.load(target))
        feeds = {"x": layer.sample()}
        return Ready(bound(runtime, feeds), matrix, lambda: runtime.run(None, feeds)[0])

    return ready


RUNTIMES: dict[str, Runtime] = {"onnxruntime-int8": _runtime(_int8), "onnxruntime-int4": _runtime(_int4)}
