"""Layers with compressed weights, in Relax: activations staged, a kernel that reads packed weights, and what follows.

What follows (zero points, scales) are ordinary operators, so that fusion makes them part of the kernel's epilogue with
bias, activation and residual.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
from tvm import relax, tirx

from tilewright.plan import PackedParameter
from tilewright.targets.base import Device
from tilewright.targets.layer_rewriter import LayerRewriter, constant, shape_of
from tilewright.targets.packed_weights import CompressedWeight, PackedWeights
from tilewright.targets.schedules import cpu_astc_layers
from tilewright.targets.schedules.cpu_blocks import Blocks
from tilewright.targets.schedules.cpu_compressed import Compressed, compressed, offsets
from tilewright.targets.schedules.cpu_decoder import ROLES
from tilewright.targets.schedules.cpu_dot import Dot
from tilewright.targets.schedules.cpu_gather import gather_rows, staged_rows
from tilewright.targets.schedules.cpu_kernel_weights import KernelWeights, kernel_weights
from tilewright.targets.schedules.cpu_planar import Planar, edges, planar, reads_bare, suits, suits_window
from tilewright.targets.schedules.cpu_planar import offsets as plane_offsets
from tilewright.targets.schedules.cpu_staging import (
    few_channels,
    float_image,
    image_with_padding,
    padded_image,
    staged,
    widened,
)
from tilewright.targets.schedules.cpu_tile import Core
from tilewright.targets.schedules.cpu_window import depthwise, max_pool
from tilewright.targets.schedules.cpu_winograd import speedup
from tilewright.targets.schedules.staging import (
    DEQUANTIZE,
    Quantized,
    dequantized,
    emit_te,
    known,
    position_major,
    quantized_source,
)
from tilewright.targets.schedules.window import Window

_SOURCES = {"places": "index", "centroids": "codebook", "zeros": "zero_points"}  # what a format calls a kernel's arrays


class PackedLayers:
    """Emits kernels for layers with compressed weights.

    Attributes:
        reasons: why a weight is unpacked at load instead, by its name.
    """

    def __init__(self, weights: PackedWeights, device: Device) -> None:
        self.weights = weights
        self.device = device
        self.reasons: dict[str, str] = {}

    def matmul(self, rewriter: LayerRewriter, left: Any, right: Any) -> Any:
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
        if cpu_astc_layers.reads(weight):
            data = position_major(rewriter, left, batch, channels, taps) if taps > 1 else left
            return self._or_reason(weight, cpu_astc_layers.product(rewriter, data, weight, self.weights, self.device))
        quantized = quantized_source(rewriter, left)
        parts = self._kernel_weights(weight, quantized is not None, math.prod(batch), 1)
        if parts is None:
            return None

        @cache  # parts of a weight read the same
        def operand(integer: bool) -> Any:
            data = quantized.data if integer and quantized is not None else left
            # Flattened [channel, position]; the matrix has positions outside.
            return position_major(rewriter, data, batch, channels, taps) if taps > 1 else data

        @cache
        def wide(integer: bool, bw: int) -> Any:
            return widened(rewriter, operand(integer), bw)

        def product(packed: KernelWeights) -> Any:
            integer = packed.blocks.word == 4
            source = quantized if integer else None
            if packed.blocks.is_plain and suits(packed.blocks, math.prod(batch)):
                return self._planar(rewriter, operand(integer), weight, packed, source)
            data = wide(integer, packed.blocks.bw)
            layer = Compressed(packed.blocks, shape_of(data), None, 1, self._offset(packed)).tiled(Core.of(self.device))
            return self._finish(rewriter, layer, data, weight, packed, source)

        return _joined(rewriter, [product(packed) for packed in parts], parts, weight.unpack.matrix[0])

    def conv2d(self, rewriter: LayerRewriter, data: Any, weight_expr: Any, window: Window, groups: int) -> Any:
        """A convolution of an NHWC image; None where the dense kernel is to do it."""
        found = self.weights.find(weight_expr, rewriter.lookup_binding)
        if found is None or groups != 1:
            return None
        weight = found[0]
        if cpu_astc_layers.reads(weight) and _is_of_taps(weight, window):
            made = cpu_astc_layers.convolution(rewriter, data, weight, self.weights, self.device, window)
            return self._or_reason(weight, made)
        quantized = quantized_source(rewriter, data)
        parts = self._conv_weights(weight, quantized is not None, window)
        if parts is None:
            return None

        @cache  # parts of a weight read the same
        def operand(integer: bool, bw: int) -> tuple[Any, Window]:
            source = quantized if integer else None
            operand = data if source is None else source.data
            shape, inner = image_with_padding(window, shape_of(data), bw)
            image = None if source is None else few_channels(rewriter, data, shape)
            if image is not None and source is not None:
                operand = rewriter.emit(relax.op.reshape(staged(rewriter, image, window, shape, source), shape))
            elif shape != shape_of(data):
                operand = padded_image(rewriter, operand, window, shape, source)
            return operand, inner

        def convolution(packed: KernelWeights) -> Any:
            integer = packed.blocks.word == 4
            image, inner = operand(integer, packed.blocks.bw)
            layer = Compressed(packed.blocks, shape_of(image), inner, 1, self._offset(packed)).tiled(
                Core.of(self.device)
            )
            return self._finish(rewriter, layer, image, weight, packed, quantized if integer else None)

        return _joined(rewriter, [convolution(packed) for packed in parts], parts, weight.unpack.matrix[0])

    def planes(self, rewriter: LayerRewriter, data: Any, weight_expr: Any, window: Window, groups: int) -> Any:
        """A convolution of one NCHW image by planes; None where that has no kernel."""
        found = self.weights.find(weight_expr, rewriter.lookup_binding)
        if found is None or groups != 1 or window.batch != 1 or (window.stride_h, window.stride_w) != (1, 1):
            return None
        weight, channels = found[0], shape_of(data)[1]
        quantized = quantized_source(rewriter, data)
        parts = self._conv_weights(weight, quantized is not None, window)
        if parts is None or len(parts) != 1 or len(parts[0].outputs) != weight.unpack.matrix[0]:
            return None
        packed = parts[0]
        fits = packed.blocks.is_plain and channels % packed.blocks.bw == 0
        quantized = quantized if packed.blocks.word == 4 else None
        bare = quantized is None and reads_bare(packed.blocks, window)
        if not fits or not suits_window(packed.blocks, window, bare):
            return None
        if bare:
            operand, inner = data, window
        else:
            made = self._padded_planes(rewriter, data, window, packed.blocks, quantized)
            if made is None:
                return None
            operand, inner = made
        layer = Planar(packed.blocks, shape_of(operand), (), inner, self._offset(packed))
        order = {"data": operand, **self._operands_of(rewriter, weight, packed)}
        order["table"] = constant(np.array(plane_offsets(layer), np.int32))
        if layer.is_bare:
            order["edges"] = constant(edges(layer))
        operands = [order[role] for role in ("data", "index", "table", "edges", "values") if role in order]
        result = rewriter.emit_kernel(planar(layer), "planar", operands, layer.out_shape, layer.out_dtype)
        along = replace(packed, factor=_along_channels(packed.factor), sums=_along_channels(packed.sums))
        return self._scaled(rewriter, result, along, quantized)

    def depthwise(self, rewriter: LayerRewriter, data: Any, weight: Any, window: Window, channels: int) -> Any:
        """A depthwise convolution of bytes by float weights in its template's order; None for other activations."""
        quantized = quantized_source(rewriter, data)
        zero = None if quantized is None else known(rewriter, quantized.zero_point)
        if quantized is None or zero is None:
            return None
        shape = (window.batch, window.out_height, window.out_width, channels)
        function = depthwise(window, channels, "uint8", int(zero))
        result = rewriter.emit_kernel(function, "depthwise", [quantized.data, weight], shape, "float32")

        def element(places: Any, at: Any) -> Any:
            total, scale = places
            return total(*at) * scale()

        # Relax's own product would make the scale part of the code, and layers of one shape could not share a kernel.
        return emit_te(rewriter, "multiply", shape, "float32", element, result, quantized.scale)

    def max_pool(self, rewriter: LayerRewriter, data: Any, window: Window, channels: int) -> Any:
        """The greatest of bytes stands for the greatest of what they stand for; None for other activations."""
        quantized = quantized_source(rewriter, data)
        if quantized is None:
            return None
        shape = (window.batch, window.out_height, window.out_width, channels)
        function = max_pool(window, channels, "uint8")
        pooled = rewriter.emit_kernel(function, "max_pool", [quantized.data], shape, "uint8")

        def element(places: Any, at: Any) -> Any:
            q, scale, zero = places
            return (q(*at).astype("int32") - zero()).astype("float32") * scale()

        return emit_te(rewriter, DEQUANTIZE, shape, "float32", element, pooled, quantized.scale, quantized.zero_point)

    # -- parts

    def _or_reason(self, weight: CompressedWeight, made: Any) -> Any:
        """What was made; None where that is a reason not to."""
        if not isinstance(made, str):
            return made
        self.reasons[weight.name] = made
        return None

    def _offset(self, packed: KernelWeights) -> int:
        return Dot.of(self.device).offset if packed.blocks.word == 4 else 0

    def _kernel_weights(
        self, weight: CompressedWeight, integer: bool, rows: int, taps: int, speedup: float = 1.0
    ) -> tuple[KernelWeights, ...] | None:
        parts: tuple[KernelWeights, ...] | None
        parts = self._or_reason(
            weight, kernel_weights(weight, integer, rows, self.device, taps, self.weights.unpacked_bytes, speedup)
        )
        return parts

    def _conv_weights(
        self, weight: CompressedWeight, integer: bool, window: Window
    ) -> tuple[KernelWeights, ...] | None:
        """A convolution's weights, whose matrix has taps outside of channels."""
        if not _is_of_taps(weight, window):
            return None
        pixels = window.batch * window.out_height * window.out_width
        outputs, taps, channels = weight.unpack.split
        dense = speedup(window, channels, outputs, 1, self.device)
        return self._kernel_weights(weight, integer, pixels, taps, dense)

    def _padded_planes(
        self, rewriter: LayerRewriter, data: Any, window: Window, blocks: Blocks, quantized: Quantized | None
    ) -> tuple[Any, Window] | None:
        """An NCHW image padded, and in bytes if it is quantized, with the window on that; None for other bytes than
        those of floats."""
        _, channels, *sides = shape_of(data)
        (_, height, width, _), inner = image_with_padding(window, (1, *sides, channels), blocks.bw)
        is_flat = (inner.out_height, inner.out_width) == (height, width)
        short = blocks.lanes - (height * width if is_flat else inner.out_width)
        if short > 0:
            width += short  # or the last vector of the last row would read past the image
            inner = replace(inner, width=width)
        image = data if quantized is None else float_image(rewriter, data)
        if image is None:
            return None
        return staged(rewriter, image, window, (1, height, width, channels), quantized), inner

    def _planar(
        self,
        rewriter: LayerRewriter,
        data: Any,
        weight: CompressedWeight,
        packed: KernelWeights,
        quantized: Quantized | None,
    ) -> Any:
        """A product for many rows."""
        *batch, depth = shape_of(data)
        blocks = packed.blocks
        layer = Planar(blocks, staged_rows(math.prod(batch), depth, blocks), tuple(batch), None, self._offset(packed))
        flat = data if len(batch) == 1 else rewriter.emit(relax.op.reshape(data, (layer.rows, depth)))
        stage = gather_rows(layer.rows, depth, blocks)
        operand = rewriter.emit_kernel(stage, "gather_rows", [flat], layer.data_shape, layer.data_dtype)
        operands = [operand, *self._operands_of(rewriter, weight, packed).values()]
        result = rewriter.emit_kernel(planar(layer), "planar", operands, layer.out_shape, layer.out_dtype)
        return self._scaled(rewriter, result, packed, quantized)

    def _finish(
        self,
        rewriter: LayerRewriter,
        layer: Compressed,
        data: Any,
        weight: CompressedWeight,
        packed: KernelWeights,
        quantized: Quantized | None,
    ) -> Any:
        operands = {"data": data, **self._operands_of(rewriter, weight, packed)}
        if layer.window is not None:
            operands["table"] = constant(np.array(offsets(layer), np.int32))
        order = [operands[role] for role in ("data", "table", *ROLES) if role in operands]
        result = rewriter.emit_kernel(compressed(layer), "compressed", order, layer.out_shape, layer.out_dtype)
        return self._scaled(rewriter, result, packed, quantized)

    def _operands_of(self, rewriter: LayerRewriter, weight: CompressedWeight, packed: KernelWeights) -> dict[str, Any]:
        """Parameters for a weight's arrays, by role, index first."""
        found = {}
        for role in ROLES:
            if role in packed.arrays:
                source = weight.source[_SOURCES.get(role, role)]
                parameter = PackedParameter(source.name, packed.arrays[role], source.storage, packed.symbol_bits[role])
                found[role] = self.weights.add(parameter)
            elif role == "values":
                found[role] = self._decoded(rewriter, weight, packed.blocks)
        return found

    def _decoded(self, rewriter: LayerRewriter, weight: CompressedWeight, blocks: Blocks) -> Any:
        """Floats in kernel order that are computed when the model is loaded."""
        payload = rewriter.emit(self.weights.payload(weight))
        rows = weight.unpack.payload[0]

        def element(places: Any, at: Any) -> Any:
            row, column = blocks.origin(*at)
            value = places[0](tirx.min(row, rows - 1), column)
            return tirx.if_then_else(row < rows, value, tirx.const(0, "float32"))

        return emit_te(rewriter, "ordered", blocks.values_shape, "float32", element, payload)

    def _scaled(self, rewriter: LayerRewriter, result: Any, packed: KernelWeights, quantized: Quantized | None) -> Any:
        """A kernel's result as the layer's."""
        if quantized is not None:
            sums = packed.sums if packed.blocks.group else packed.sums.astype(np.int32)
            factor = packed.factor.astype(np.float32)
            return dequantized(rewriter, result, quantized, self._offset(packed), sums, factor)
        return result if _is_one(packed.factor) else relax.op.multiply(result, constant(packed.factor))


def _is_of_taps(weight: CompressedWeight, window: Window) -> bool:
    """Whether the matrix of a convolution's weight has taps outside of channels."""
    split, perm, taps = weight.unpack.split, weight.unpack.perm, window.kernel_height * window.kernel_width
    outside = perm.index(0) == 0 and (taps == 1 or perm == (0, 2, 1))
    return len(weight.unpack.shape) == 4 and split[1] == taps and outside


def _joined(rewriter: LayerRewriter, results: Sequence[Any], parts: Sequence[KernelWeights], outputs: int) -> Any:
    """The outputs of several kernels in the order of the matrix, along the last axis; zeros where there is none."""
    if len(parts) == 1 and len(parts[0].outputs) == outputs:
        return results[0]
    starts = np.cumsum([0, *(len(part.outputs) for part in parts)]).tolist()
    order = np.full(outputs, starts[-1], np.int32)  # where each output is in the results side by side
    order[np.concatenate([part.outputs for part in parts])] = np.arange(starts[-1])
    emitted = [rewriter.emit(result) for result in results]

    def element(places: Any, at: Any) -> Any:
        *row, output = at
        place: Any = places[-1][output].astype("int64")
        value: Any = tirx.const(0, "float32")
        for first, after, result in reversed(list(zip(starts, starts[1:], places, strict=False))):
            value = tirx.if_then_else(place < after, result(*row, place - first), value)
        return value

    shape = (*shape_of(emitted[0])[:-1], outputs)
    return emit_te(rewriter, "join", shape, "float32", element, *emitted, constant(order))


def _along_channels(values: Any) -> Any:
    """One value an output, for NCHW."""
    return values if values.ndim == 0 else values.reshape(1, -1, 1, 1)


def _is_one(factor: Any) -> bool:
    return bool((factor == 1).all())
