"""Convolution, depthwise convolution, fully connected layers and pooling.

Sources: TFLite, kernels/internal/reference/integer_ops/{conv,depthwise_conv,fully_connected,pooling}.h.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tilewright.integer.rounding import Int, Requantize, Rounding, reciprocal, scale_shift

_EXACT = 2**53  # below this, sums of products in float64 are exact, and BLAS is fast


@dataclass(frozen=True)
class Window:
    """A kernel's geometry: (vertical, horizontal) pairs and paddings (top, left, bottom, right)."""

    kernel: tuple[int, int]
    strides: tuple[int, int] = (1, 1)
    dilations: tuple[int, int] = (1, 1)
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)

    @staticmethod
    def same(
        size: tuple[int, int], kernel: tuple[int, int], strides: tuple[int, int], dilations: tuple[int, int] = (1, 1)
    ) -> Window:
        """TFLite's SAME padding of an input of ``size`` (height, width): the odd element goes to the end."""
        pads = []
        for length, taps, stride, dilation in zip(size, kernel, strides, dilations, strict=True):
            reach = (taps - 1) * dilation + 1
            total = max((-(-length // stride) - 1) * stride + reach - length, 0)
            pads.append((total // 2, total - total // 2))
        return Window(kernel, strides, dilations, (pads[0][0], pads[1][0], pads[0][1], pads[1][1]))

    def patches(self, x: Int, fill: int = 0) -> Int:
        """All windows: (n, h, w, c) to (n, out h, out w, kernel h, kernel w, c)."""
        top, left, bottom, right = self.pads
        padded = np.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)), constant_values=fill)
        reach = tuple((taps - 1) * dilation + 1 for taps, dilation in zip(self.kernel, self.dilations, strict=True))
        views = np.lib.stride_tricks.sliding_window_view(padded, reach, (1, 2))  # n, h, w, c, reach h, reach w
        views = views[:, :: self.strides[0], :: self.strides[1], :, :: self.dilations[0], :: self.dilations[1]]
        return views.transpose(0, 1, 2, 4, 5, 3)


def conv2d(x: Int, x_zero: int, weights: Int, bias: Int, window: Window, output: Requantize) -> Int:
    """A convolution. Padding counts as the input's zero point.

    Args:
        x: (n, h, w, c), any integers of up to 16 bits.
        x_zero: its zero point.
        weights: (out channels, kernel h, kernel w, c), zero point subtracted, of up to 9 bits.
        bias: (out channels,).
        window: geometry; its kernel is that of the weights.
        output: from accumulators to outputs.

    Returns:
        (n, out h, out w, out channels).
    """
    patches = window.patches(x.astype(np.int64) - x_zero)
    n, h, w = patches.shape[:3]
    sums = _matmul(patches.reshape(n * h * w, -1), weights.reshape(len(weights), -1).T)
    return output(sums.reshape(n, h, w, -1) + bias)


def depthwise_conv2d(x: Int, x_zero: int, weights: Int, bias: Int, window: Window, output: Requantize) -> Int:
    """The same with a kernel for each channel: weights (kernel h, kernel w, c)."""
    patches = window.patches(x.astype(np.int64) - x_zero)
    return output(np.einsum("nhwyxc,yxc->nhwc", patches, weights.astype(np.int64)) + bias)


def dense(x: Int, x_zero: int, weights: Int, bias: Int, output: Requantize) -> Int:
    """A fully connected layer: x (rows, features), weights (units, features)."""
    return output(_matmul(x.astype(np.int64) - x_zero, weights.T) + bias)


def average_pool(x: Int, window: Window, low: int, high: int) -> Int:
    """The mean over the elements of a window that are inside the input, halves away from zero.

    TFLite averages quantized values as they are: input and output have one scale and zero point.
    """
    x = x.astype(np.int64)
    counts = window.patches(np.ones_like(x)).sum((3, 4))
    sums = window.patches(x).sum((3, 4))
    factors = np.zeros((int(counts.max()) + 1, 2), np.int64)
    for count in np.unique(counts):
        factors[count] = reciprocal(int(count))
    factor, shift = factors[counts, 0], factors[counts, 1]
    return np.clip(scale_shift(sums, factor, shift, Rounding.NATURAL), low, high)


def max_pool(x: Int, window: Window, low: int, high: int) -> Int:
    """The maximum over a window; padding does not count."""
    least = int(np.iinfo(np.int64).min)
    most: Int = window.patches(x.astype(np.int64), least).max((3, 4))
    return np.clip(most, low, high)


def _matmul(a: Int, b: Int) -> Int:
    most = float(np.abs(a).max(initial=0)) * float(np.abs(b).max(initial=0)) * a.shape[1]
    if most >= _EXACT:
        exact: Int = a @ b
        return exact
    product: NDArray[np.float64] = a.astype(np.float64) @ b.astype(np.float64)
    return product.astype(np.int64)
