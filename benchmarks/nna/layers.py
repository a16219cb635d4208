"""Quantized layers on top of tflite.Builder, with random weights and scales that use the whole output range."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.nna.tflite import Builder, Tensor

RELU, RELU_N1_TO_1, RELU6 = 1, 2, 3
"""schema.ActivationFunctionType."""

SAME, VALID = 0, 1
"""schema.Padding."""


def _spread(x: Tensor) -> float:
    """Standard deviation of a tensor's real values, about: its range is used evenly."""
    return x.scale * (60 if x.dtype == "int8" else 17000)


def _output(b: Builder, shape: tuple[int, ...], dtype: str, spread: float, zero: int = -7) -> Tensor:
    """A tensor whose range holds about two and a half standard deviations."""
    return b.tensor(shape, dtype, spread * 2.5 / (127 if dtype == "int8" else 32767), zero if dtype == "int8" else 0)


def _window(size: int, kernel: int, stride: int, dilation: int, padding: int) -> int:
    reach = (kernel - 1) * dilation + 1
    return -(-size // stride) if padding == SAME else -(-(size - reach + 1) // stride)


def _weights(b: Builder, shape: tuple[int, ...], axis: int, depth: int, zeros: float) -> Tensor:
    most = 2 ** (depth - 1) - 1
    values = b.random.integers(-most, most + 1, shape)
    values[b.random.random(shape) < zeros] = 0
    scales = (b.random.random(shape[axis]) * 0.01 + 0.005).astype(np.float32)
    return b.tensor(shape, "int8", scales, 0, values.astype(np.int8), axis)


def _bias(b: Builder, x: Tensor, w: Tensor, count: int, spread: float, dtype: str) -> Tensor:
    scales = np.asarray(b.tensors[w.index].quantization.scale, np.float32) * np.float32(x.scale)
    values = np.rint(b.random.standard_normal(count) * spread / scales / 4)
    return b.tensor((count,), dtype, scales, 0, values.astype(dtype))


def conv(
    b: Builder,
    x: Tensor,
    channels: int,
    kernel: int = 3,
    stride: int = 1,
    dilation: int = 1,
    padding: int = SAME,
    activation: int = 0,
    depth: int = 8,
    zeros: float = 0.0,
) -> Tensor:
    """A convolution with a scale for each channel; ``depth`` bits a weight, a share ``zeros`` of them zero."""
    n, h, w, c = x.shape
    weights = _weights(b, (channels, kernel, kernel, c), 0, depth, zeros)
    most = 2 ** (depth - 1) - 1
    spread = _spread(x) * weights.scale * 0.45 * most * (kernel * kernel * c * (1 - zeros)) ** 0.5
    bias = _bias(b, x, weights, channels, spread, "int64" if x.dtype == "int16" else "int32")
    shape = (n, _window(h, kernel, stride, dilation, padding), _window(w, kernel, stride, dilation, padding), channels)
    options = {
        "padding": padding, "strideH": stride, "strideW": stride, "dilationHFactor": dilation,
        "dilationWFactor": dilation, "fusedActivationFunction": activation,
    }  # fmt: skip
    return b.op("CONV_2D", [x, weights, bias], _output(b, shape, x.dtype, spread), Conv2DOptions=options)


def depthwise(
    b: Builder,
    x: Tensor,
    kernel: int = 3,
    stride: int = 1,
    dilation: int = 1,
    padding: int = SAME,
    activation: int = 0,
    multiplier: int = 1,
) -> Tensor:
    """A depthwise convolution."""
    n, h, w, c = x.shape
    channels = c * multiplier
    weights = _weights(b, (1, kernel, kernel, channels), 3, 8, 0)
    spread = _spread(x) * weights.scale * 57 * kernel
    bias = _bias(b, x, weights, channels, spread, "int64" if x.dtype == "int16" else "int32")
    shape = (n, _window(h, kernel, stride, dilation, padding), _window(w, kernel, stride, dilation, padding), channels)
    options = {
        "padding": padding, "strideH": stride, "strideW": stride, "dilationHFactor": dilation,
        "dilationWFactor": dilation, "fusedActivationFunction": activation, "depthMultiplier": multiplier,
    }  # fmt: skip
    y = _output(b, shape, x.dtype, spread)
    return b.op("DEPTHWISE_CONV_2D", [x, weights, bias], y, DepthwiseConv2DOptions=options)


def transposed(b: Builder, x: Tensor, channels: int, kernel: int, padding: int = SAME) -> Tensor:
    """A transposed convolution of stride 2."""
    n, h, w, c = x.shape
    weights = _weights(b, (channels, kernel, kernel, c), 0, 8, 0)
    spread = _spread(x) * weights.scale * 57 * (kernel * kernel * c / 4) ** 0.5
    bias = _bias(b, x, weights, channels, spread, "int64" if x.dtype == "int16" else "int32")
    grow = 0 if padding == SAME else max(kernel - 2, 0)
    shape = (n, 2 * h + grow, 2 * w + grow, channels)
    options = {"padding": padding, "strideH": 2, "strideW": 2}
    y = _output(b, shape, x.dtype, spread)
    return b.op("TRANSPOSE_CONV", [b.indices(*shape), weights, x, bias], y, TransposeConvOptions=options)


def dense(b: Builder, x: Tensor, channels: int, activation: int = 0) -> Tensor:
    """A fully connected layer on a (rows, features) tensor, with one scale for all weights.

    With 16 bits the bias has 32: for biases of 64 bits Vela rounds the output's scale to 16 bits, LiteRT does not.
    """
    rows, features = x.shape
    values = b.random.integers(-127, 128, (channels, features)).astype(np.int8)
    weights = b.tensor((channels, features), "int8", 0.008, 0, values)
    spread = _spread(x) * 0.008 * 70 * features**0.5
    bias = _bias(b, x, weights, channels, spread, "int32")
    y = _output(b, (rows, channels), x.dtype, spread)
    options = {"fusedActivationFunction": activation, "quantizedBiasType": 2 if x.dtype == "int16" else 0}
    return b.op("FULLY_CONNECTED", [x, weights, bias], y, FullyConnectedOptions=options)


def pool(
    b: Builder, x: Tensor, kind: str, kernel: int, stride: int, padding: int = SAME, activation: int = 0
) -> Tensor:
    """``kind`` AVERAGE or MAX. TFLite keeps the input's quantization."""
    n, h, w, c = x.shape
    shape = (n, _window(h, kernel, stride, 1, padding), _window(w, kernel, stride, 1, padding), c)
    options = {
        "padding": padding, "strideH": stride, "strideW": stride, "filterHeight": kernel, "filterWidth": kernel,
        "fusedActivationFunction": activation,
    }  # fmt: skip
    y = b.tensor(shape, x.dtype, x.scale, x.zero)
    return b.op(f"{kind}_POOL_2D", [x], y, Pool2DOptions=options)


def binary(b: Builder, kind: str, x: Tensor, y: Tensor, activation: int = 0) -> Tensor:
    """ADD, SUB, MUL, MINIMUM or MAXIMUM of tensors that broadcast; the last two keep the quantization."""
    shape = tuple(np.broadcast_shapes(x.shape, y.shape))
    if kind in ("MINIMUM", "MAXIMUM"):
        return b.op(kind, [x, y], b.tensor(shape, x.dtype, x.scale, x.zero), MaximumMinimumOptions={})
    spread = _spread(x) * _spread(y) if kind == "MUL" else (_spread(x) ** 2 + _spread(y) ** 2) ** 0.5
    options: dict[str, Any] = {"fusedActivationFunction": activation}
    if kind != "MUL":
        options["potScaleInt16"] = False
    return b.op(kind, [x, y], _output(b, shape, x.dtype, spread), **{f"{kind.capitalize()}Options": options})


def constant(b: Builder, shape: tuple[int, ...], dtype: str, scale: float, zero: int = 0) -> Tensor:
    """A random quantized constant, for the second operand of a binary operator."""
    info = np.iinfo(dtype)
    values = b.random.integers(info.min, info.max + 1, shape).astype(dtype)
    return b.tensor(shape, dtype, scale, zero, values)


def unary(b: Builder, kind: str, x: Tensor, scale: float, zero: int, **options: dict[str, Any]) -> Tensor:
    """An operator of one input with an output of the same shape."""
    return b.op(kind, [x], b.tensor(x.shape, x.dtype, scale, zero), **options)


def reshape(b: Builder, x: Tensor, *shape: int) -> Tensor:
    """Another shape for the same elements."""
    y = b.tensor(shape, x.dtype, x.scale, x.zero)
    return b.op("RESHAPE", [x, b.indices(*shape)], y, ReshapeOptions={"newShape": list(shape)})
