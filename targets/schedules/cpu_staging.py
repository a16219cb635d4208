"""Activations on their way to a kernel of compressed weights, in Relax: the bytes that floats were made of, padding
around images and rows, and the order in which a kernel reads them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from tvm import relax, tirx

from tilewright.targets.layer_rewriter import LayerRewriter, shape_of
from tilewright.targets.schedules.cpu_layout import TO_CHANNELS_LAST
from tilewright.targets.schedules.cpu_stage import Stage, stage_image
from tilewright.targets.schedules.staging import DEQUANTIZE, QUANTIZE, Quantized, emit_te, kernel_operands
from tilewright.targets.schedules.window import Window


def float_image(rewriter: LayerRewriter, data: Any) -> Any:
    """The float image, NCHW, that an NCHW image was quantized from and dequantized again; None if it was not."""
    operands = kernel_operands(rewriter, data, DEQUANTIZE)
    source = None if operands is None else kernel_operands(rewriter, operands[0], QUANTIZE)
    return None if source is None else source[0]


def few_channels(rewriter: LayerRewriter, data: Any, shape: Sequence[int]) -> Any:
    """The float NCHW image that an NHWC image of up to four channels is quantized from, or None."""
    moved: Any = rewriter.lookup_binding(data) if isinstance(data, relax.Var) else None
    if shape[3] != 4 or getattr(getattr(moved, "op", None), "name", "") != "relax.permute_dims":
        return None
    return float_image(rewriter, moved.args[0]) if tuple(map(int, moved.attrs.axes)) == TO_CHANNELS_LAST else None


# -- kernels that move activations


_PAGE, _LINE = 4096, 64  # bytes; lines that lie whole pages apart share a set of the first-level cache
_WAYS = 8  # rows that such a set surely holds


def widened(rewriter: LayerRewriter, data: Any, width: int) -> Any:
    """Rows padded to a multiple of a block's width, where weights are zero; many rows also away from one cache set."""
    *batch, depth = shape_of(data)
    padded = -(-depth // width) * width
    itemsize = np.dtype(str(data.ty.dtype)).itemsize
    if math.prod(batch) > _WAYS and padded * itemsize % _PAGE == 0:
        padded += -(-_LINE // (itemsize * width)) * width
    if padded == depth:
        return data
    dtype = str(data.ty.dtype)

    def element(places: Any, at: Any) -> Any:
        return tirx.if_then_else(at[-1] < depth, places[0](*at), tirx.const(0, dtype))

    return emit_te(rewriter, "widen", (*batch, padded), dtype, element, data)


def image_with_padding(window: Window, image: Sequence[int], width: int) -> tuple[tuple[int, ...], Window]:
    """The shape of an NHWC image with the window's padding around it and channels padded to a block's width; and the
    window on that."""
    w = window
    batch, height, columns, channels = image
    needed_h = (w.out_height - 1) * w.stride_h + (w.kernel_height - 1) * w.dilation_h + 1
    needed_w = (w.out_width - 1) * w.stride_w + (w.kernel_width - 1) * w.dilation_w + 1
    new_h, new_w = max(needed_h, height + w.pad_top), max(needed_w, columns + w.pad_left)
    inner = Window(
        batch, new_h, new_w, w.out_height, w.out_width, w.kernel_height, w.kernel_width,
        w.stride_h, w.stride_w, w.dilation_h, w.dilation_w, 0, 0,
    )  # fmt: skip
    return (batch, new_h, new_w, -(-channels // width) * width), inner


def staged(
    rewriter: LayerRewriter, image: Any, window: Window, shape: Sequence[int], quantized: Quantized | None
) -> Any:
    """A float NCHW image in the middle of a larger one, whose height and width are ``shape[1:3]``; if it is to be
    quantized, at once and with four channels innermost."""
    integer, (batch, channels, height, width) = quantized is not None, shape_of(image)
    stage = Stage(batch, channels, height, width, window.pad_top, window.pad_left, shape[1], shape[2], integer)
    if not integer and stage.out_shape == shape_of(image):
        return image
    operands = [image] if quantized is None else [image, quantized.scale, quantized.zero_point]
    return rewriter.emit_kernel(stage_image(stage), "stage", operands, stage.out_shape, stage.out_dtype)


def padded_image(
    rewriter: LayerRewriter, data: Any, window: Window, shape: tuple[int, ...], quantized: Quantized | None
) -> Any:
    """An NHWC image in the middle of a larger one, whose border is what zero is stored as."""
    w = window
    _, height, columns, channels = shape_of(data)
    dtype = str(data.ty.dtype)
    zero = [] if quantized is None else [quantized.zero_point]

    def element(places: Any, at: Any) -> Any:
        n, y, x, c = at
        sides = [y >= w.pad_top, y < height + w.pad_top, x >= w.pad_left, x < columns + w.pad_left, c < channels]
        grew = [*_grown(w, height, columns, shape[1], shape[2]), shape[3] > channels]
        inside = [condition for condition, needed in zip(sides, grew, strict=True) if needed]
        fill = places[1]().astype(dtype) if zero else tirx.const(0, dtype)
        return tirx.if_then_else(tirx.all(*inside), places[0](n, y - w.pad_top, x - w.pad_left, c), fill)

    return emit_te(rewriter, "pad", shape, dtype, element, data, *zero)


def _grown(window: Window, height: int, width: int, new_height: int, new_width: int) -> tuple[bool, ...]:
    """On which sides an image grew: top, bottom, left, right."""
    return (
        window.pad_top > 0,
        new_height > height + window.pad_top,
        window.pad_left > 0,
        new_width > width + window.pad_left,
    )
