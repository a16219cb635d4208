"""Integer operations as operations of ethosu.vela.api: maps, windows, activations; no blocks and no weights yet."""

from __future__ import annotations

from typing import Any

import numpy as np

from tilewright.integer.network import Binary, Convolution, Lookup, Map, Network, Operation, Pooling, Resize
from tilewright.integer.rounding import limits
from tilewright.integer.windows import Window
from tilewright.lower.ethosu.memory import Placement
from tilewright.lower.ethosu.moves import BRICK, DOUBLE
from tilewright.lower.ethosu.weights import part_kernel_first

try:
    from ethosu.vela import api
except ImportError:  # Vela is an optional extra
    api = None


class Operations:
    """Builds the operations of a network whose maps have their places."""

    def __init__(self, network: Network, placement: Placement) -> None:
        self._network = network
        self._placement = placement

    def build(self, operation: Operation) -> Any:
        """One operation."""
        if isinstance(operation, Convolution):
            return self._convolution(operation)
        if isinstance(operation, Pooling):
            return self._pooling(operation)
        if isinstance(operation, Lookup):
            return self._lookup(operation)
        if isinstance(operation, Binary):
            return self._binary(operation)
        if isinstance(operation, Resize):
            return self._resize(operation)
        raise AssertionError(f"Ethos-U's capabilities have no {type(operation).__name__}")

    def _convolution(self, operation: Convolution) -> Any:
        op = api.NpuConvDepthWiseOperation() if operation.depthwise else api.NpuConv2DOperation()
        self._fill(op, operation.source, operation.target, operation.window)
        output, ofm = operation.output, self._network.maps[operation.target]
        op.activation = _clamp(ofm, output.low, output.high)
        op.rounding_mode = getattr(api.NpuRoundingMode, output.rounding.name)
        if not operation.depthwise:
            bits = 8 * np.dtype(self._network.maps[operation.source].dtype).itemsize
            part = part_kernel_first(operation.weights.shape, bits)
            traversal = api.NpuBlockTraversal
            op.block_traversal = traversal.PART_KERNEL_FIRST if part else traversal.DEPTH_FIRST
        return op

    def _pooling(self, operation: Pooling) -> Any:
        op = api.NpuPoolingOperation(getattr(api.NpuPoolingOp, operation.kind))
        self._fill(op, operation.source, operation.target, operation.window)
        return _plain(op)

    def _lookup(self, operation: Lookup) -> Any:
        """A mean of single elements, which changes nothing, with a table that a DMA brings first."""
        op = api.NpuPoolingOperation(api.NpuPoolingOp.AVERAGE)
        self._fill(op, operation.source, operation.target, Window((1, 1)))
        op.activation = api.NpuActivation(api.NpuActivationOp.TABLE_LOOKUP)
        return _plain(op)

    def _binary(self, operation: Binary) -> Any:
        op = api.NpuElementWiseOperation(getattr(api.NpuElementWiseOp, operation.kind))
        op.ifm, op.ifm2 = self._map(operation.first), self._map(operation.second)
        op.ofm, op.kernel = self._map(operation.target), api.NpuKernel(1, 1)
        if operation.clamp is not None:
            op.activation = _clamp(self._network.maps[operation.target], *operation.clamp)
        return op

    def _resize(self, operation: Resize) -> Any:
        """Likewise, of a map that is read with every element twice."""
        op = api.NpuPoolingOperation(api.NpuPoolingOp.AVERAGE)
        self._fill(op, operation.source, operation.target, Window((1, 1)))
        if operation.factors == DOUBLE:
            op.ifm_upscale = api.NpuResamplingMode.NEAREST
        return _plain(op)

    def _fill(self, op: Any, source: int, target: int, window: Window) -> None:
        op.ifm, op.ofm = self._map(source), self._map(target)
        (height, width), (down, right), (dilate_y, dilate_x) = window.kernel, window.strides, window.dilations
        op.kernel = api.NpuKernel(width, height, right, down, dilate_x, dilate_y)
        op.padding = api.NpuPadding(*window.pads)

    def _map(self, index: int) -> Any:
        source, where = self._network.maps[index], self._placement.places[index]
        found = api.NpuFeatureMap()
        found.name, found.region = source.name, where.region
        found.data_type = getattr(api.NpuDataType, source.dtype.upper())
        height, width, _ = source.shape
        found.shape = api.NpuShape3D(*source.shape)
        found.tiles = api.NpuTileBox(height, height, width, [where.address, 0, 0, 0])
        found.quantization = api.NpuQuantization(float(np.float32(source.affine.scale)), source.affine.zero)
        found.layout = api.NpuLayout.NHCWB16 if where.bricks else api.NpuLayout.NHWC
        if where.depth != source.shape[2]:
            size = np.dtype(source.dtype).itemsize
            across = BRICK * size if where.bricks else where.depth * size
            row = width * size * (-(-where.depth // BRICK) * BRICK if where.bricks else where.depth)
            found.strides = api.NpuShape3D(row, across, width * across if where.bricks else size)
        return found


def _plain(op: Any) -> Any:
    """TFLite averages quantized values without their zero point, and so do we; both maps have the same one."""
    op.ifm.quantization = op.ofm.quantization = api.NpuQuantization(1.0, 0)
    op.rounding_mode = api.NpuRoundingMode.NATURAL
    return op


def _clamp(ofm: Map, low: int, high: int) -> Any:
    """Vela takes bounds as real numbers; None where they are the type's own."""
    least, most = limits(ofm.dtype)
    if ofm.dtype == "int32" or (low <= least and high >= most):
        return None
    activation = api.NpuActivation(api.NpuActivationOp.NONE_OR_RELU)
    scale, zero = ofm.affine.scale, ofm.affine.zero
    activation.min, activation.max = (low - zero) * scale, (high - zero) * scale
    return activation
