"""Layers with compressed weights, in Relax: activations staged, a kernel that reads packed weights, and what follows.

What follows (zero points, scales) are ordinary operators, so that fusion makes them part of the kernel's epilogue with
bias, activation and residual.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import tvm
from tvm import relax, s_tir, te, tirx
from tvm.ir import GenericConst

from tilewright.plan import PackedParameter
from tilewright.targets.packed_weights import CompressedWeight, PackedWeights
from tilewright.targets.schedules.cpu_compressed import Compressed, compressed, offsets
from tilewright.targets.schedules.cpu_dot import Dot
from tilewright.targets.schedules.cpu_fallback import leaf_blocks
from tilewright.targets.schedules.cpu_ir import i64s
from tilewright.targets.schedules.cpu_kernel_weights import KernelWeights, kernel_weights
from tilewright.targets.schedules.cpu_layout import TO_CHANNELS_LAST, constant, shape_of
from tilewright.targets.schedules.cpu_planar import Planar, gather_rows, planar, staged_rows, suits
from tilewright.targets.schedules.cpu_planar import offsets as plane_offsets
from tilewright.targets.schedules.cpu_quantize import Stage, stage_image
from tilewright.targets.schedules.cpu_spatial import Window
from tilewright.targets.schedules.cpu_tile import Core
from tilewright.targets.schedules.cpu_window import depthwise, max_pool

QUANTIZE, DEQUANTIZE = "quantize", "dequantize"  # the names that the importer gives such blocks
_OPAQUE = 8  # Relax's OpPatternKind: never fused


@dataclass(frozen=True)
class Quantized:
    """Activations that are bytes: value = (data - zero_point) * scale; the latter are scalars, as Relax expressions."""

    data: Any  # uint8
    scale: Any  # float32
    zero_point: Any  # int32


class PackedLayers:
    """Emits kernels for layers with compressed weights.

    Attributes:
        reasons: why a weight is unpacked at load instead, by its name.
    """

    def __init__(self, mod: Any, weights: PackedWeights, core: Core, dot: Dot) -> None:
        self.mod = mod
        self.weights = weights
        self.core = core
        self.dot = dot
        self.reasons: dict[str, str] = {}

    def matmul(self, rewriter: Any, left: Any, right: Any) -> Any:
        """A product by the transpose of a compressed matrix; None where the dense kernel is to do it."""
        found = self.weights.find(right, rewriter.lookup_binding)
        if found is None:
            return None
        weight, transposed = found
        _, taps, channels = weight.unpack.split
        rows_first = weight.unpack.perm.index(0) == 0
        if len(weight.unpack.shape) != 2 or rows_first != transposed:
            return None
        batch = shape_of(left)[:-1]
        packed = self._kernel_weights(rewriter, weight, left, math.prod(batch), 1)
        if packed is None:
            return None
        quantized = self._quantized(rewriter, left) if packed.blocks.word == 4 else None
        data = quantized.data if quantized is not None else left
        if taps > 1:  # flattened [channel, position]; the matrix has positions outside
            data = _position_major(rewriter, data, batch, channels, taps)
        if suits(packed.blocks, math.prod(batch)):
            return self._planar(rewriter, data, weight, packed, quantized)
        data = _widened(rewriter, data, packed.blocks.bw)
        layer = Compressed(packed.blocks, shape_of(data), None, 1, self._offset(packed)).tiled(self.core)
        return self._finish(rewriter, layer, data, weight, packed, quantized)

    def conv2d(self, rewriter: Any, data: Any, weight_expr: Any, window: Window, groups: int) -> Any:
        """A convolution of an NHWC image; None where the dense kernel is to do it."""
        found = self.weights.find(weight_expr, rewriter.lookup_binding)
        if found is None or groups != 1:
            return None
        weight, taps = found[0], window.kernel_height * window.kernel_width
        packed = self._conv_weights(rewriter, weight, data, window, taps)
        if packed is None:
            return None
        quantized = self._quantized(rewriter, data) if packed.blocks.word == 4 else None
        staged = data if quantized is None else quantized.data
        shape, inner = _image_with_padding(window, shape_of(data), packed.blocks.bw)
        image = None if quantized is None else self._few_channels(rewriter, data, shape)
        if image is not None and quantized is not None:
            planes = _staged(rewriter, image, window, shape, quantized)
            staged = rewriter.builder_.emit(relax.op.reshape(planes, shape))
        elif shape != shape_of(data):
            staged = _padded(rewriter, staged, window, shape, quantized)
        layer = Compressed(packed.blocks, shape_of(staged), inner, 1, self._offset(packed)).tiled(self.core)
        return self._finish(rewriter, layer, staged, weight, packed, quantized)

    def planes(self, rewriter: Any, data: Any, weight_expr: Any, window: Window, groups: int) -> Any:
        """A convolution of one NCHW image by planes; None where that has no kernel."""
        found = self.weights.find(weight_expr, rewriter.lookup_binding)
        if found is None or groups != 1 or window.batch != 1 or (window.stride_h, window.stride_w) != (1, 1):
            return None
        weight, taps = found[0], window.kernel_height * window.kernel_width
        channels = shape_of(data)[1]
        packed = self._conv_weights(rewriter, weight, data, window, taps)
        if packed is None or not suits(packed.blocks, window.out_width) or channels % packed.blocks.bw:
            return None
        quantized = self._quantized(rewriter, data) if packed.blocks.word == 4 else None
        (_, height, width, _), inner = _image_with_padding(window, (1, *shape_of(data)[2:], channels), packed.blocks.bw)
        is_flat = (inner.out_height, inner.out_width) == (height, width)
        short = packed.blocks.lanes - (height * width if is_flat else inner.out_width)
        if short > 0:
            width += short  # or the last vector of the last row would read past the image
            inner = replace(inner, width=width)
        if quantized is not None:
            operands = self._operands(rewriter, data, DEQUANTIZE)
            source = None if operands is None else self._operands(rewriter, operands[0], QUANTIZE)
            if source is None:
                return None
            staged = _staged(rewriter, source[0], window, (1, height, width, channels), quantized)
        else:
            staged = _padded_planes(rewriter, data, window, (1, channels, height, width))
        layer = Planar(packed.blocks, shape_of(staged), (), inner, self._offset(packed))
        order = {"data": staged, **self._operands_of(weight, packed)}
        order["table"] = constant(np.array(plane_offsets(layer), np.int32))
        function = rewriter.builder_.add_func(planar(layer), "planar")
        out_type = relax.TensorType(layer.out_shape, layer.out_dtype)
        roles = ("data", "index", "table", "values")
        result = rewriter.builder_.emit(relax.call_tir(function, [order[role] for role in roles], out_ty=out_type))
        along = replace(packed, factor=_along_channels(packed.factor), sums=_along_channels(packed.sums))
        return self._scaled(rewriter, result, along, quantized)

    def depthwise(self, rewriter: Any, data: Any, weight: Any, window: Window, channels: int) -> Any:
        """A depthwise convolution of bytes by float weights in its template's order; None for other activations."""
        quantized = self._quantized(rewriter, data)
        zero = None if quantized is None else _known(rewriter, quantized.zero_point)
        if quantized is None or zero is None:
            return None
        shape = (window.batch, window.out_height, window.out_width, channels)
        function = rewriter.builder_.add_func(depthwise(window, channels, "uint8", int(zero)), "depthwise")
        out_type = relax.TensorType(shape, "float32")
        result = rewriter.builder_.emit(relax.call_tir(function, [quantized.data, weight], out_ty=out_type))
        return relax.op.multiply(result, quantized.scale)

    def max_pool(self, rewriter: Any, data: Any, window: Window, channels: int) -> Any:
        """The greatest of bytes stands for the greatest of what they stand for; None for other activations."""
        quantized = self._quantized(rewriter, data)
        if quantized is None:
            return None
        shape = (window.batch, window.out_height, window.out_width, channels)
        function = rewriter.builder_.add_func(max_pool(window, channels, "uint8"), "max_pool")
        pooled = rewriter.builder_.emit(
            relax.call_tir(function, [quantized.data], out_ty=relax.TensorType(shape, "uint8"))
        )

        def element(places: Any, at: Any) -> Any:
            q, scale, zero = places
            return (q(*at).astype("int32") - zero()).astype("float32") * scale()

        return _emit_te(rewriter, DEQUANTIZE, shape, "float32", element, pooled, quantized.scale, quantized.zero_point)

    # -- parts

    def _offset(self, packed: KernelWeights) -> int:
        return self.dot.offset if packed.blocks.word == 4 else 0

    def _kernel_weights(
        self, rewriter: Any, weight: CompressedWeight, data: Any, rows: int, taps: int
    ) -> KernelWeights | None:
        integer = self._quantized(rewriter, data) is not None
        packed = kernel_weights(weight, integer, rows, self.core, self.dot, taps)
        if isinstance(packed, str):
            self.reasons[weight.name] = packed
            return None
        return packed

    def _quantized(self, rewriter: Any, data: Any) -> Quantized | None:
        """What float activations were dequantized from, if with one scale for all."""
        call: Any = rewriter.lookup_binding(data) if isinstance(data, relax.Var) else None
        name = getattr(getattr(call, "op", None), "name", "")
        if name in ("relax.permute_dims", "relax.reshape"):  # moves bytes as well as floats
            inner = self._quantized(rewriter, call.args[0])
            if inner is None:
                return None
            moved = tvm.ir.Call(call.op, [inner.data, *call.args[1:]], call.attrs, call.ty_args)
            return replace(inner, data=rewriter.builder_.emit(moved))
        operands = self._operands(rewriter, data, DEQUANTIZE)
        if operands is None:
            return None
        integers, scale, *zero = operands
        dtype = str(integers.ty.dtype)
        if dtype not in ("uint8", "int8") or any(math.prod(shape_of(p)) != 1 for p in (scale, *zero)):
            return None
        shift = 128 if dtype == "int8" else 0
        if shift:
            integers = _unsigned(rewriter, integers)
        zero_point = _scalar(rewriter, zero[0], "int32") if zero else relax.const(0, "int32")
        if shift:
            zero_point = _folded(rewriter, relax.op.add, zero_point, relax.const(shift, "int32"))
        return Quantized(integers, _scalar(rewriter, scale, "float32"), zero_point)

    def _planar(
        self,
        rewriter: Any,
        data: Any,
        weight: CompressedWeight,
        packed: KernelWeights,
        quantized: Quantized | None,
    ) -> Any:
        """A product for many rows."""
        *batch, depth = shape_of(data)
        emit, blocks = rewriter.builder_.emit, packed.blocks
        layer = Planar(blocks, staged_rows(math.prod(batch), depth, blocks), tuple(batch), None, self._offset(packed))
        flat = data if len(batch) == 1 else emit(relax.op.reshape(data, (layer.rows, depth)))
        stage = rewriter.builder_.add_func(gather_rows(layer.rows, depth, layer), "gather_rows")
        staged_type = relax.TensorType(layer.data_shape, layer.data_dtype)
        operands = {
            "data": emit(relax.call_tir(stage, [flat], out_ty=staged_type)),
            **self._operands_of(weight, packed),
        }
        function = rewriter.builder_.add_func(planar(layer), "planar")
        out_type = relax.TensorType(layer.out_shape, layer.out_dtype)
        result = emit(relax.call_tir(function, list(operands.values()), out_ty=out_type))
        return self._scaled(rewriter, result, packed, quantized)

    def _conv_weights(
        self, rewriter: Any, weight: CompressedWeight, data: Any, window: Window, taps: int
    ) -> KernelWeights | None:
        """A convolution's weights, whose matrix has taps outside of channels."""
        split, perm = weight.unpack.split, weight.unpack.perm
        if len(weight.unpack.shape) != 4 or split[1] != taps or perm.index(0) != 0 or (taps > 1 and perm != (0, 2, 1)):
            return None
        pixels = window.batch * window.out_height * window.out_width
        return self._kernel_weights(rewriter, weight, data, pixels, taps)

    def _few_channels(self, rewriter: Any, data: Any, shape: Sequence[int]) -> Any:
        """The float NCHW image that an NHWC image of up to four channels is quantized from, or None."""
        moved: Any = rewriter.lookup_binding(data) if isinstance(data, relax.Var) else None
        if shape[3] != 4 or getattr(getattr(moved, "op", None), "name", "") != "relax.permute_dims":
            return None
        if tuple(map(int, moved.attrs.axes)) != TO_CHANNELS_LAST:
            return None
        operands = self._operands(rewriter, moved.args[0], DEQUANTIZE)
        source = None if operands is None else self._operands(rewriter, operands[0], QUANTIZE)
        return None if source is None else source[0]

    def _operands(self, rewriter: Any, expr: Any, block: str) -> list[Any] | None:
        """What a kernel of one block of that name reads; None if a variable is bound to something else."""
        call: Any = rewriter.lookup_binding(expr) if isinstance(expr, relax.Var) else None
        if getattr(getattr(call, "op", None), "name", "") != "relax.call_tir":
            return None
        sch = s_tir.Schedule(rewriter.builder_.get()[call.args[0]])
        blocks = leaf_blocks(sch)
        if len(blocks) != 1 or sch.get(blocks[0]).name_hint != block:
            return None
        return list(call.args[1].fields)

    def _finish(
        self,
        rewriter: Any,
        layer: Compressed,
        data: Any,
        weight: CompressedWeight,
        packed: KernelWeights,
        quantized: Quantized | None,
    ) -> Any:
        operands = {"data": data, **self._operands_of(weight, packed)}
        if layer.window is not None:
            operands["table"] = constant(np.array(offsets(layer), np.int32))
        order = [operands[role] for role in ("data", "index", "table", "values", "scales") if role in operands]
        function = rewriter.builder_.add_func(compressed(layer), "compressed")
        out_type = relax.TensorType(layer.out_shape, layer.out_dtype)
        result = rewriter.builder_.emit(relax.call_tir(function, order, out_ty=out_type))
        return self._scaled(rewriter, result, packed, quantized)

    def _operands_of(self, weight: CompressedWeight, packed: KernelWeights) -> dict[str, Any]:
        """Parameters for a weight's arrays, by role, index first."""
        found = {}
        for role in ("index", "values", "scales"):
            if role in packed.arrays:
                source = weight.source[role]
                parameter = PackedParameter(source.name, packed.arrays[role], source.storage, packed.symbol_bits[role])
                found[role] = self.weights.add(parameter)
        return found

    def _scaled(self, rewriter: Any, result: Any, packed: KernelWeights, quantized: Quantized | None) -> Any:
        """A kernel's result as the layer's."""
        if quantized is not None:
            return self._dequantized(rewriter, result, packed, quantized)
        return result if _is_one(packed.factor) else relax.op.multiply(result, constant(packed.factor))

    def _dequantized(self, rewriter: Any, result: Any, packed: KernelWeights, quantized: Quantized) -> Any:
        """(result - zero_point * sums) * factor * scale."""
        emit = rewriter.builder_.emit
        zero = _folded(rewriter, relax.op.subtract, quantized.zero_point, relax.const(self._offset(packed), "int32"))
        if not packed.blocks.group:
            correction = _folded(rewriter, relax.op.multiply, constant(packed.sums.astype(np.int32)), zero)
            exact = emit(relax.op.subtract(result, correction))
            wide = emit(relax.op.astype(exact, "float32"))
        else:
            float_zero = _folded(rewriter, lambda a, _: relax.op.astype(a, "float32"), zero, zero)
            correction = _folded(rewriter, relax.op.multiply, constant(packed.sums), float_zero)
            wide = emit(relax.op.subtract(result, correction))
        factor = _folded(rewriter, relax.op.multiply, constant(packed.factor.astype(np.float32)), quantized.scale)
        return relax.op.multiply(wide, factor)


def _along_channels(values: Any) -> Any:
    """One value an output, for NCHW."""
    return values if values.ndim == 0 else values.reshape(1, -1, 1, 1)


def _is_one(factor: Any) -> bool:
    return bool((factor == 1).all())


def _known(rewriter: Any, expr: Any) -> Any:
    """The value of a constant, or None."""
    if isinstance(expr, relax.Var):
        expr = rewriter.lookup_binding(expr)
    return expr.value.numpy() if isinstance(expr, GenericConst) else None


_NUMPY = {"multiply": np.multiply, "add": np.add, "subtract": np.subtract}


def _folded(rewriter: Any, operator: Any, left: Any, right: Any) -> Any:
    """``operator(left, right)``, at once where both are known."""
    a, b = _known(rewriter, left), _known(rewriter, right)
    name = getattr(operator, "__name__", "")
    if a is not None and b is not None:
        return constant(_NUMPY[name](a, b) if name in _NUMPY else a.astype(np.float32))
    return rewriter.builder_.emit(operator(left, right))


def _scalar(rewriter: Any, expr: Any, dtype: str) -> Any:
    known = _known(rewriter, expr)
    if known is not None:
        return constant(known.reshape(()).astype(dtype))
    flat = expr if not shape_of(expr) else rewriter.builder_.emit(relax.op.reshape(expr, ()))
    return flat if str(flat.ty.dtype) == dtype else rewriter.builder_.emit(relax.op.astype(flat, dtype))


def _emit_te(rewriter: Any, name: str, shape: Sequence[int], dtype: str, element: Any, *inputs: Any) -> Any:
    places = [te.placeholder(i64s(*shape_of(x)), str(x.ty.dtype), f"p{n}") for n, x in enumerate(inputs)]
    result = te.compute(i64s(*shape), lambda *at: element(places, at), name=name)
    function = te.create_prim_func([*places, result]).without_attr("global_symbol")
    if name in ("pad", "widen"):
        function = function.with_attr("op_pattern", _OPAQUE)  # not part of the kernel in front: the shape differs
    function = rewriter.builder_.add_func(function, name)
    return rewriter.builder_.emit(relax.call_tir(function, list(inputs), out_ty=relax.TensorType(shape, dtype)))


def _unsigned(rewriter: Any, data: Any) -> Any:
    """int8 as uint8, 128 higher."""

    def element(places: Any, at: Any) -> Any:
        return (places[0](*at).astype("int32") + 128).astype("uint8")

    return _emit_te(rewriter, "unsigned", shape_of(data), "uint8", element, data)


def _position_major(rewriter: Any, data: Any, batch: Sequence[int], channels: int, taps: int) -> Any:
    """A flattened NCHW image as a flattened NHWC image."""
    emit = rewriter.builder_.emit
    split = emit(relax.op.reshape(data, (*batch, channels, taps)))
    rank = len(batch) + 2
    order = [*range(rank - 2), rank - 1, rank - 2]
    return emit(relax.op.reshape(emit(relax.op.permute_dims(split, order)), (*batch, taps * channels)))


_PAGE, _LINE = 4096, 64  # bytes; lines that lie whole pages apart share a set of the first-level cache
_WAYS = 8  # rows that such a set surely holds


def _widened(rewriter: Any, data: Any, width: int) -> Any:
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

    return _emit_te(rewriter, "widen", (*batch, padded), dtype, element, data)


def _image_with_padding(window: Window, image: Sequence[int], width: int) -> tuple[tuple[int, ...], Window]:
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


def _staged(rewriter: Any, image: Any, window: Window, shape: Sequence[int], quantized: Quantized) -> Any:
    """A float NCHW image quantized, padded and with channels last at once."""
    batch, channels, height, width = shape_of(image)
    stage = Stage(batch, channels, height, width, window.pad_top, window.pad_left, shape[1], shape[2])
    function = rewriter.builder_.add_func(stage_image(stage), "stage")
    operands = [image, quantized.scale, quantized.zero_point]
    out_type = relax.TensorType(stage.out_shape, "uint8")
    return rewriter.builder_.emit(relax.call_tir(function, operands, out_ty=out_type))


def _padded(rewriter: Any, data: Any, window: Window, shape: tuple[int, ...], quantized: Quantized | None) -> Any:
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

    return _emit_te(rewriter, "pad", shape, dtype, element, data, *zero)


def _padded_planes(rewriter: Any, data: Any, window: Window, shape: tuple[int, ...]) -> Any:
    """A float NCHW image in the middle of a larger one of zeros."""
    w = window
    _, _, height, width = shape_of(data)
    if shape == shape_of(data):
        return data

    def element(places: Any, at: Any) -> Any:
        n, c, y, x = at
        sides = [y >= w.pad_top, y < height + w.pad_top, x >= w.pad_left, x < width + w.pad_left]
        inside = [side for side, needed in zip(sides, _grown(w, height, width, *shape[2:]), strict=True) if needed]
        value = places[0](n, c, y - w.pad_top, x - w.pad_left)
        return tirx.if_then_else(tirx.all(*inside), value, tirx.const(0, "float32"))

    return _emit_te(rewriter, "pad", shape, "float32", element, data)


def _grown(window: Window, height: int, width: int, new_height: int, new_width: int) -> tuple[bool, ...]:
    """On which sides an image grew: top, bottom, left, right."""
    return (
        window.pad_top > 0,
        new_height > height + window.pad_top,
        window.pad_left > 0,
        new_width > width + window.pad_left,
    )
