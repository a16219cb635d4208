"""Activations on their way to a GPU kernel of compressed weights, and its integers on their way back, in Relax."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from tvm import relax, tirx

from tilewright.targets.layer_rewriter import LayerRewriter, constant, shape_of
from tilewright.targets.schedules.gpu_decoder import FOUR
from tilewright.targets.schedules.gpu_dot import OFFSET, joined
from tilewright.targets.schedules.gpu_kernel_weights import KernelWeights
from tilewright.targets.schedules.staging import Quantized, dequantized, emit_te
from tilewright.targets.schedules.window import Window


def widened(rewriter: LayerRewriter, data: Any, depth: int) -> Any:
    """Rows padded with zeros; weights are zero there too."""
    *batch, present = shape_of(data)
    if present == depth:
        return data
    dtype = str(data.ty.dtype)

    def element(places: Any, at: Any) -> Any:
        return tirx.if_then_else(at[-1] < present, places[0](*at), tirx.const(0, dtype))

    return emit_te(rewriter, "widened", (*batch, depth), dtype, element, data)


def window_on_padded(image: Sequence[int], out: Sequence[int], kernel: Sequence[int], attrs: Any) -> Window:
    """The window of a convolution on an image, NCHW, that has the padding around it already.

    Args:
        out, kernel: height and width.
    """
    batch, _, height, width = image
    strides, dilation = [int(s) for s in attrs.strides], [int(d) for d in attrs.dilation]
    top, left = corner(attrs)
    needed = [(o - 1) * s + (k - 1) * d + 1 for o, s, k, d in zip(out, strides, kernel, dilation, strict=True)]
    high, wide = max(needed[0], height + top), max(needed[1], width + left)
    pairs = (*out, *kernel, *strides, *dilation, 0, 0)
    return Window(batch, high, wide, *pairs)


def corner(attrs: Any) -> tuple[int, int]:
    """Rows and columns of padding before the first pixel."""
    return int(attrs.padding[0]), int(attrs.padding[1])


def padded_image(rewriter: LayerRewriter, data: Any, window: Window, at: tuple[int, int]) -> Any:
    """An image of the window's size, with the given one at a place in it and zeros around."""
    batch, channels, height, width = shape_of(data)
    if (height, width) == (window.height, window.width):
        return data
    dtype, (top, left) = str(data.ty.dtype), at

    def element(places: Any, place: Any) -> Any:
        n, c, y, x = place
        inside = tirx.all(y >= top, y < height + top, x >= left, x < width + left)
        return tirx.if_then_else(inside, places[0](n, c, y - top, x - left), tirx.const(0, dtype))

    return emit_te(rewriter, "padded", (batch, channels, window.height, window.width), dtype, element, data)


def words_of(rewriter: LayerRewriter, quantized: Quantized, window: Window, at: tuple[int, int]) -> Any:
    """The same of bytes, four channels in an int32 as signed bytes; what is around stands for zero."""
    batch, channels, height, width = shape_of(quantized.data)
    top, left = at

    def element(places: Any, place: Any) -> Any:
        (image, zero), (n, word, y, x) = places, place

        def byte(channel: Any) -> Any:
            conditions = [channel < channels] if channels % FOUR else []
            if (height, width) != (window.height, window.width):
                conditions += [y >= top, y < height + top, x >= left, x < width + left]
            value = image(n, channel, y - top, x - left)
            return tirx.if_then_else(tirx.all(*conditions), value, zero().astype("uint8")) if conditions else value

        return joined([byte(word * FOUR + number) for number in range(FOUR)])

    shape = batch, -(-channels // FOUR), window.height, window.width
    return emit_te(rewriter, "words", shape, "int32", element, quantized.data, quantized.zero_point)


def finished(
    rewriter: LayerRewriter, result: Any, packed: KernelWeights, quantized: Quantized | None, axes: int
) -> Any:
    """A kernel's result as the layer's, float32: (result - zero point * sums) * factor * scale of bytes.

    Args:
        quantized: the bytes that were multiplied, if there are any.
        axes: of the result behind that of the outputs.
    """

    def along(values: Any) -> Any:
        return values.reshape(-1, *[1] * axes) if values.ndim else values

    if quantized is None:
        scaled = packed.factor != 1
        return rewriter.emit(relax.op.multiply(result, constant(along(packed.factor)))) if scaled.any() else result
    assert packed.sums is not None
    gain = packed.words.gain
    sums = along(packed.sums * packed.sums.dtype.type(gain))
    factor = along((packed.factor / np.float32(gain)).astype(np.float32))
    return rewriter.emit(dequantized(rewriter, result, quantized, OFFSET, sums, factor))
