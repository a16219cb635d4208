"""Activations on their way to a kernel of compressed weights, in Relax: the bytes that floats were made of, padding
around images and rows, and the order in which a kernel reads them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import tvm
from tvm import relax, s_tir, te, tirx
from tvm.ir import GenericConst

from tilewright.targets.layer_rewriter import LayerRewriter
from tilewright.targets.schedules.cpu_fallback import leaf_blocks
from tilewright.targets.schedules.cpu_ir import i64s
from tilewright.targets.schedules.cpu_layout import TO_CHANNELS_LAST, constant, shape_of
from tilewright.targets.schedules.cpu_spatial import Window
from tilewright.targets.schedules.cpu_stage import Stage, stage_image

QUANTIZE, DEQUANTIZE = "quantize", "dequantize"  # the names that the importer gives such blocks
_OPAQUE = 8  # Relax's OpPatternKind: never fused


@dataclass(frozen=True)
class Quantized:
    """Activations that are bytes: value = (data - zero_point) * scale; the latter are scalars, as Relax expressions."""

    data: Any  # uint8
    scale: Any  # float32
    zero_point: Any  # int32


def quantized_source(rewriter: LayerRewriter, data: Any) -> Quantized | None:
    """What float activations were dequantized from, if with one scale for all."""
    call: Any = rewriter.lookup_binding(data) if isinstance(data, relax.Var) else None
    name = getattr(getattr(call, "op", None), "name", "")
    if name in ("relax.permute_dims", "relax.reshape"):  # moves bytes as well as floats
        inner = quantized_source(rewriter, call.args[0])
        if inner is None:
            return None
        moved = tvm.ir.Call(call.op, [inner.data, *call.args[1:]], call.attrs, call.ty_args)
        return replace(inner, data=rewriter.emit(moved))
    operands = _operands(rewriter, data, DEQUANTIZE)
    if operands is None:
        return None
    integers, scale, *zero = operands
    dtype = str(integers.ty.dtype)
    if dtype not in ("uint8", "int8") or any(math.prod(shape_of(p)) != 1 for p in (scale, *zero)):
        return None
    zero_point = _scalar(rewriter, zero[0], "int32") if zero else relax.const(0, "int32")
    if dtype == "int8":
        integers = _unsigned(rewriter, integers)
        zero_point = folded(rewriter, relax.op.add, zero_point, relax.const(128, "int32"))
    return Quantized(integers, _scalar(rewriter, scale, "float32"), zero_point)


def float_image(rewriter: LayerRewriter, data: Any) -> Any:
    """The float image, NCHW, that an NCHW image was quantized from and dequantized again; None if it was not."""
    operands = _operands(rewriter, data, DEQUANTIZE)
    source = None if operands is None else _operands(rewriter, operands[0], QUANTIZE)
    return None if source is None else source[0]


def few_channels(rewriter: LayerRewriter, data: Any, shape: Sequence[int]) -> Any:
    """The float NCHW image that an NHWC image of up to four channels is quantized from, or None."""
    moved: Any = rewriter.lookup_binding(data) if isinstance(data, relax.Var) else None
    if shape[3] != 4 or getattr(getattr(moved, "op", None), "name", "") != "relax.permute_dims":
        return None
    return float_image(rewriter, moved.args[0]) if tuple(map(int, moved.attrs.axes)) == TO_CHANNELS_LAST else None


def _operands(rewriter: LayerRewriter, expr: Any, block: str) -> list[Any] | None:
    """What a kernel of one block of that name reads; None if a variable is bound to something else."""
    call: Any = rewriter.lookup_binding(expr) if isinstance(expr, relax.Var) else None
    if getattr(getattr(call, "op", None), "name", "") != "relax.call_tir":
        return None
    sch = s_tir.Schedule(rewriter.builder_.get()[call.args[0]])
    blocks = leaf_blocks(sch)
    if len(blocks) != 1 or sch.get(blocks[0]).name_hint != block:
        return None
    return list(call.args[1].fields)


# -- small values


def known(rewriter: LayerRewriter, expr: Any) -> Any:
    """The value of a constant, or None."""
    if isinstance(expr, relax.Var):
        expr = rewriter.lookup_binding(expr)
    return expr.value.numpy() if isinstance(expr, GenericConst) else None


_NUMPY = {"multiply": np.multiply, "add": np.add, "subtract": np.subtract}


def folded(rewriter: LayerRewriter, operator: Any, left: Any, right: Any) -> Any:
    """``operator(left, right)``, at once where both are known."""
    a, b = known(rewriter, left), known(rewriter, right)
    name = getattr(operator, "__name__", "")
    if a is not None and b is not None:
        return constant(_NUMPY[name](a, b) if name in _NUMPY else a.astype(np.float32))
    return rewriter.emit(operator(left, right))


def _scalar(rewriter: LayerRewriter, expr: Any, dtype: str) -> Any:
    value = known(rewriter, expr)
    if value is not None:
        return constant(value.reshape(()).astype(dtype))
    flat = expr if not shape_of(expr) else rewriter.emit(relax.op.reshape(expr, ()))
    return flat if str(flat.ty.dtype) == dtype else rewriter.emit(relax.op.astype(flat, dtype))


# -- kernels that move activations


def emit_te(rewriter: LayerRewriter, name: str, shape: Sequence[int], dtype: str, element: Any, *inputs: Any) -> Any:
    """A kernel of one block; ``element(placeholders of the inputs, coordinates)`` is what it stores."""
    places = [te.placeholder(i64s(*shape_of(x)), str(x.ty.dtype), f"p{n}") for n, x in enumerate(inputs)]
    result = te.compute(i64s(*shape), lambda *at: element(places, at), name=name)
    function = te.create_prim_func([*places, result])
    if name in ("pad", "widen"):
        function = function.with_attr("op_pattern", _OPAQUE)  # not part of the kernel in front: the shape differs
    return rewriter.emit_kernel(function, name, inputs, shape, dtype)


def _unsigned(rewriter: LayerRewriter, data: Any) -> Any:
    """int8 as uint8, 128 higher."""

    def element(places: Any, at: Any) -> Any:
        return (places[0](*at).astype("int32") + 128).astype("uint8")

    return emit_te(rewriter, "unsigned", shape_of(data), "uint8", element, data)


def position_major(rewriter: LayerRewriter, data: Any, batch: Sequence[int], channels: int, taps: int) -> Any:
    """A flattened NCHW image as a flattened NHWC image."""
    emit = rewriter.emit
    split = emit(relax.op.reshape(data, (*batch, channels, taps)))
    rank = len(batch) + 2
    order = [*range(rank - 2), rank - 1, rank - 2]
    return emit(relax.op.reshape(emit(relax.op.permute_dims(split, order)), (*batch, taps * channels)))


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
