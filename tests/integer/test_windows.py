"""Convolutions and pooling against LiteRT's reference kernels. Tolerance 0: both are integer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tilewright.integer import windows
from tilewright.integer.rounding import Requantize, Rounding
from tilewright.integer.windows import Window

from .oracle import Builder, Tensor, constants, layers, run


def requantize(b: Builder, x: Tensor, y: Tensor, clamp: tuple[int, int] | None = None) -> tuple[Any, Any, Requantize]:
    """Weights, bias and the output stage of the model's only layer."""
    (weights, scales), (bias, _) = constants(b)
    wide = bias.dtype == np.int64
    reals = np.float64(np.float32(x.scale)) * scales.astype(np.float64) / np.float64(np.float32(y.scale))
    rounding = Rounding.NATURAL if wide else Rounding.TFL
    output = Requantize.of(reals, y.zero, y.dtype, rounding, clamp, reduced=wide)
    return weights.astype(np.int64), bias.astype(np.int64), output


CONVOLUTIONS = [
    {"kernel": 1},
    {"kernel": 3, "stride": 2},
    {"kernel": 3, "dilation": 2},
    {"kernel": 4, "padding": layers.VALID, "stride": 3},
    {"kernel": 3, "activation": layers.RELU},
]


@pytest.mark.parametrize("dtype", ["int8", "int16"])
@pytest.mark.parametrize("options", CONVOLUTIONS, ids=str)
@pytest.mark.parametrize("depthwise", [False, True])
def test_convolutions(dtype: str, options: dict[str, int], depthwise: bool) -> None:
    b = Builder(5)
    x = b.input((2, 9, 10, 7), dtype)
    y = layers.depthwise(b, x, **options) if depthwise else layers.conv(b, x, 11, **options)
    clamp = (y.zero, 2**31) if options.get("activation") else None
    weights, bias, output = requantize(b, x, y, clamp)
    kernel, stride, dilation = options["kernel"], options.get("stride", 1), options.get("dilation", 1)
    window = Window((kernel,) * 2, (stride,) * 2, (dilation,) * 2)
    if options.get("padding") != layers.VALID:
        window = Window.same((9, 10), window.kernel, window.strides, window.dilations)
    (given,), (want,) = run(b, y)
    if depthwise:
        got = windows.depthwise_conv2d(given, x.zero, weights[0], bias, window, output)
    else:
        got = windows.conv2d(given, x.zero, weights, bias, window, output)
    np.testing.assert_array_equal(got, want)
    assert np.unique(want).size > 50  # neither saturated nor empty


@pytest.mark.parametrize("dtype", ["int8", "int16"])
def test_dense(dtype: str) -> None:
    b = Builder(6)
    x = b.input((5, 300), dtype)
    y = layers.dense(b, x, 40)
    weights, bias, _ = requantize(b, x, y)
    # TFLite multiplies the input's and the weights' scale in float32 here.
    real = float(np.float32(x.scale) * np.float32(0.008)) / float(np.float32(y.scale))
    (given,), (want,) = run(b, y)
    got = windows.dense(given, x.zero, weights, bias, Requantize.of(real, y.zero, y.dtype))
    np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("dtype", ["int8", "int16"])
@pytest.mark.parametrize(("kernel", "stride", "padding"), [(2, 2, 1), (3, 1, 0), (5, 3, 0), (7, 2, 1)])
def test_pooling(dtype: str, kernel: int, stride: int, padding: int) -> None:
    b = Builder(7)
    x = b.input((1, 13, 12, 9), dtype)
    outputs = [layers.pool(b, x, kind, kernel, stride, padding) for kind in ("AVERAGE", "MAX")]
    window = Window((kernel,) * 2, (stride,) * 2)
    if padding == layers.SAME:
        window = Window.same((13, 12), window.kernel, window.strides)
    (given,), (mean, maximum) = run(b, *outputs)
    low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
    np.testing.assert_array_equal(windows.average_pool(given, window, low, high), mean)
    np.testing.assert_array_equal(windows.max_pool(given, window, low, high), maximum)


def test_sums_beyond_float64_stay_exact() -> None:
    x = np.full((1, 1, 1, 4), 2**30)
    weights = np.full((1, 1, 1, 4), 2**24 + 1)
    identity = Requantize(np.array([1]), np.array([0]), Rounding.NATURAL, 0, -(2**62), 2**62)
    got = windows.conv2d(x, 0, weights, np.zeros(1, np.int64), Window((1, 1)), identity)
    assert got.item() == 4 * 2**30 * (2**24 + 1)
