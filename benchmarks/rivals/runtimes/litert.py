"""LiteRT (TFLite) with XNNPACK: fp32, int8, int4 weights; models are written here, its converters need TensorFlow.

Products have float activations that LiteRT quantizes at the moment (8 bits) and one scale for each output. Convolutions
of int8 take and give int8: what they cost inside a quantized network, without the conversions at its ends.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.layers import Array, Layer
from benchmarks.rivals.base import RivalError
from benchmarks.rivals.runtimes.base import Ready, Runtime, imported

PACKAGE = "ai-edge-litert"
SAME, VALID = 0, 1


def _channels_last(layer: Layer, x: Array) -> Array:
    return x if len(layer.w) == 2 else np.ascontiguousarray(x.transpose(0, 2, 3, 1))


def _weight(layer: Layer, matrix: Array) -> Array:
    """As TFLite has it: OI or OHWI, which is our matrix order."""
    if len(layer.w) == 2:
        return matrix
    outputs, channels, height, width = layer.w
    return matrix.reshape(outputs, height, width, channels)


def _integers(matrix: Array, most: int) -> tuple[npt.NDArray[np.int8], Array]:
    """Symmetric, one scale for each output."""
    scale = np.abs(matrix).max(axis=1) / np.float32(most)
    return np.rint(matrix / scale[:, None]).astype(np.int8), scale


def _operator(builder: Any, layer: Layer, operands: list[Any], y: Any) -> None:
    if len(layer.w) == 2:
        builder.op("FULLY_CONNECTED", operands, y, FullyConnectedOptions={})
        return
    padding = SAME if layer.pad else VALID
    builder.op("CONV_2D", operands, y, Conv2DOptions={"padding": padding, "strideH": 1, "strideW": 1})


def _fp32(builder: Any, layer: Layer, matrix: Array) -> tuple[Any, Any]:
    x = builder.input(_channels_last(layer, layer.sample()).shape, "float32", None)
    weight = _weight(layer, matrix)
    operands = [
        x,
        builder.tensor(weight.shape, "float32", data=weight),
        builder.tensor(layer.bias().shape, "float32", data=layer.bias()),
    ]
    y = builder.tensor(_output_shape(layer), "float32")
    _operator(builder, layer, operands, y)
    return x, y


def _dynamic(builder: Any, layer: Layer, matrix: Array, bits: int) -> tuple[Any, Any]:
    if len(layer.w) == 4:
        raise RivalError("the benchmark has int8 convolutions only")
    x = builder.input(layer.x, "float32", None)
    values, scale = _integers(matrix, 2 ** (bits - 1) - 1)
    if bits == 4:
        nibbles = values.reshape(-1, 2) & 15
        weight = builder.tensor(layer.w, "int4", scale, data=(nibbles[:, 0] | nibbles[:, 1] << 4).astype(np.uint8))
    else:
        weight = builder.tensor(layer.w, "int8", scale, data=values)
    y = builder.tensor(layer.y, "float32")
    _operator(builder, layer, [x, weight, builder.tensor(layer.bias().shape, "float32", data=layer.bias())], y)
    return x, y


def _static(builder: Any, layer: Layer, matrix: Array) -> tuple[Any, Any]:
    """Ranges of x and y from samples, the latter by their standard deviations."""
    shape = _channels_last(layer, layer.sample()).shape
    scale_x = float(np.abs(layer.samples()["x"]).max()) / 127
    values, scale = _integers(matrix, 127)
    x = builder.input(shape, "int8", scale_x, 0)
    weight = builder.tensor(_weight(layer, matrix).shape, "int8", scale, data=values)
    bias = np.rint(layer.bias() / (scale * scale_x)).astype(np.int32)
    operands = [x, weight, builder.tensor(bias.shape, "int32", (scale * scale_x).astype(np.float32), data=bias)]
    y = builder.tensor(_output_shape(layer), "int8", 5 * float(np.linalg.norm(matrix, axis=1).max()) / 127)
    _operator(builder, layer, operands, y)
    return x, y


def _output_shape(layer: Layer) -> tuple[int, ...]:
    return layer.y if len(layer.w) == 2 else (layer.y[0], *layer.y[2:], layer.y[1])


def _runtime(build: Callable[[Any, Layer, Array], tuple[Any, Any]]) -> Runtime:
    def ready(layer: Layer) -> Ready:
        interpreter = imported("ai_edge_litert.interpreter", PACKAGE)
        builder = imported("benchmarks.nna.tflite", PACKAGE).Builder()
        matrix = layer.matrix()
        x, y = build(builder, layer, matrix)
        model = interpreter.Interpreter(model_content=builder.finish(y), num_threads=1)
        model.allocate_tensors()
        data = _channels_last(layer, layer.sample())
        if x.dtype == "int8":
            data = np.clip(np.rint(data / x.scale), -128, 127).astype(np.int8)
        (into,), (out,) = model.get_input_details(), model.get_output_details()
        model.set_tensor(into["index"], data)

        def result() -> Any:
            model.invoke()
            values = model.get_tensor(out["index"])
            values = values if y.dtype == "float32" else values.astype(np.float32) * np.float32(y.scale)
            return values if len(layer.w) == 2 else values.transpose(0, 3, 1, 2)

        return Ready(model.invoke, matrix, result)

    return ready


RUNTIMES: dict[str, Runtime] = {
    "litert": _runtime(_fp32),
    "litert-int8": _runtime(
        lambda builder, layer, matrix: (
            _dynamic(builder, layer, matrix, 8) if len(layer.w) == 2 else _static(builder, layer, matrix)
        )
    ),
    "litert-int4": _runtime(lambda builder, layer, matrix: _dynamic(builder, layer, matrix, 4)),
}
