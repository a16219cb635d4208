"""A network's command stream: operations of ethosu.vela.api with our own order, memory plan and block sizes."""

from __future__ import annotations

import contextlib
import io
from dataclasses import dataclass
from typing import Any

import numpy as np

from tilewright.errors import ToolError
from tilewright.integer.network import Binary, Convolution, Lookup, Map, Network, Operation, Pooling, View
from tilewright.integer.rounding import Int, limits
from tilewright.integer.windows import Window
from tilewright.lower.ethosu.memory import WEIGHTS, Place, Placement, place
from tilewright.lower.ethosu.weights import Weights, part_kernel_first

try:
    from ethosu.vela import api
except ImportError:  # Vela is an optional extra
    api = None


_SHRAM = 1 << 8 | 3  # the region that means the accelerator's own memory
_TABLES, _TABLE = 2048, 256  # bytes: tables lie at the end of it


@dataclass(frozen=True)
class LayerCode:
    """What one layer became.

    Attributes:
        weight_bytes: of coded weights.
        scale_bytes: of biases and scales, or of a table.
        plain_bytes: of the weights at 8 bits.
        entropy_bytes: of the weights at their zero-order entropy: what no code without context gets below.
    """

    layer: str
    weight_bytes: int = 0
    scale_bytes: int = 0
    plain_bytes: int = 0
    entropy_bytes: float = 0.0


@dataclass(frozen=True)
class Stream:
    """A command stream and what it needs in memory.

    Attributes:
        payload: what an Ethos-U driver is handed.
        weights: region 0: coded weights, biases and scales.
        scratch_bytes: size of region 1. Inputs, then outputs, follow from region 2 on.
    """

    payload: bytes
    weights: bytes
    scratch_bytes: int
    layers: tuple[LayerCode, ...]


def compile_network(network: Network, accelerator: str) -> Stream:
    """Compiles a network.

    Args:
        accelerator: as Vela names it, for example ``ethos-u55-128``.

    Raises:
        ToolError: Vela is not installed, or refuses an operation.
        UnsupportedError: too many inputs and outputs.
    """
    if api is None:
        raise ToolError("targets of Ethos-U need Arm's Vela: pip install 'tilewright[nna]'")
    with contextlib.redirect_stdout(io.StringIO()):  # Vela warns of the default configuration, which we want
        return _Emitter(network, accelerator).run()


class _Emitter:
    def __init__(self, network: Network, accelerator: str) -> None:
        self.network = network
        self.accelerator = getattr(api.NpuAccelerator, accelerator.replace("ethos-u", "Ethos_U").replace("-", "_"))
        self.placement: Placement = place(network)
        self.weights = Weights(self.accelerator, cores=2 if accelerator == "ethos-u65-512" else 1)
        self.shram_bytes = (24 if accelerator == "ethos-u55-128" else 48) * 1024  # of one core
        self.layers: list[LayerCode] = []

    def run(self) -> Stream:
        operations = [op for operation in self.network.operations for op in self.emit(operation)]
        try:
            words = api.npu_generate_register_command_stream(operations, self.accelerator)
            payload = bytes(api.npu_create_driver_payload(words, self.accelerator))
        except Exception as error:  # Vela's errors and assertions
            raise ToolError(f"Vela cannot write the command stream: {error}") from error
        return Stream(payload, self.weights.data(), self.placement.scratch_bytes, tuple(self.layers))

    def emit(self, operation: Operation) -> list[Any]:
        if isinstance(operation, View):
            return []
        if isinstance(operation, Convolution):
            return [self.convolution(operation)]
        self.layers.append(LayerCode(operation.layer, scale_bytes=_TABLE if isinstance(operation, Lookup) else 0))
        if isinstance(operation, Pooling):
            return [self.pooling(operation)]
        if isinstance(operation, Lookup):
            return self.lookup(operation)
        if isinstance(operation, Binary):
            return [self.binary(operation)]
        raise AssertionError(f"Ethos-U's capabilities have no {type(operation).__name__}")

    def convolution(self, operation: Convolution) -> Any:
        op = api.NpuConvDepthWiseOperation() if operation.depthwise else api.NpuConv2DOperation()
        self.fill(op, operation.source, operation.target, operation.window)
        output, ofm = operation.output, self.network.maps[operation.target]
        op.activation = _clamp(ofm, output.low, output.high)
        op.rounding_mode = getattr(api.NpuRoundingMode, output.rounding.name)
        if not operation.depthwise:
            bits = 8 * np.dtype(self.network.maps[operation.source].dtype).itemsize
            part = part_kernel_first(operation.weights.shape, bits)
            traversal = api.NpuBlockTraversal
            op.block_traversal = traversal.PART_KERNEL_FIRST if part else traversal.DEPTH_FIRST
        op.block_config = self.block(op)
        coded = self.weights.add(operation, op)
        op.weights = [api.NpuAddressRange(WEIGHTS, *span) for span in coded.weights]
        op.biases = [api.NpuAddressRange(WEIGHTS, *span) for span in coded.scales]
        weights, scales = (sum(length for _, length in spans) for spans in (coded.weights, coded.scales))
        entropy = _entropy(operation.weights) / 8
        self.layers.append(LayerCode(operation.layer, weights, scales, operation.weights.size, entropy))
        return op

    def pooling(self, operation: Pooling) -> Any:
        op = api.NpuPoolingOperation(getattr(api.NpuPoolingOp, operation.kind))
        self.fill(op, operation.source, operation.target, operation.window)
        # TFLite averages quantized values without their zero point, and so do we; both maps have the same one.
        op.ifm.quantization = op.ofm.quantization = api.NpuQuantization(1.0, 0)
        op.rounding_mode = api.NpuRoundingMode.NATURAL
        op.block_config = self.block(op)
        return op

    def lookup(self, operation: Lookup) -> list[Any]:
        """A mean of single elements, which changes nothing, with a table that a DMA brings first."""
        table = api.NpuAddressRange(WEIGHTS, *self.weights.append(operation.table.tobytes()))
        place = api.NpuAddressRange(_SHRAM, self.shram_bytes - _TABLES, _TABLE)
        op = api.NpuPoolingOperation(api.NpuPoolingOp.AVERAGE)
        self.fill(op, operation.source, operation.target, Window((1, 1)))
        op.ifm.quantization = op.ofm.quantization = api.NpuQuantization(1.0, 0)
        op.rounding_mode = api.NpuRoundingMode.NATURAL
        op.activation = api.NpuActivation(api.NpuActivationOp.TABLE_LOOKUP)
        op.block_config = self.block(op)
        return [api.NpuDmaOperation(table, place), op]

    def binary(self, operation: Binary) -> Any:
        op = api.NpuElementWiseOperation(getattr(api.NpuElementWiseOp, operation.kind))
        op.ifm, op.ifm2 = self.map(operation.first), self.map(operation.second)
        op.ofm, op.kernel = self.map(operation.target), api.NpuKernel(1, 1)
        op.block_config = self.block(op)
        return op

    def fill(self, op: Any, source: int, target: int, window: Any) -> None:
        op.ifm, op.ofm = self.map(source), self.map(target)
        (height, width), (down, right), (dilate_y, dilate_x) = window.kernel, window.strides, window.dilations
        op.kernel = api.NpuKernel(width, height, right, down, dilate_x, dilate_y)
        op.padding = api.NpuPadding(*window.pads)

    def map(self, index: int) -> Any:
        source, where = self.network.maps[index], self.placement.places[index]
        found = api.NpuFeatureMap()
        found.name, found.region = source.name, where.region
        found.data_type = getattr(api.NpuDataType, source.dtype.upper())
        height, width, _ = source.shape
        found.shape = api.NpuShape3D(*source.shape)
        found.tiles = api.NpuTileBox(height, height, width, [where.address, 0, 0, 0])
        found.quantization = api.NpuQuantization(float(np.float32(source.affine.scale)), source.affine.zero)
        found.layout = _layout(where)
        return found

    def block(self, op: Any) -> Any:
        """The block size that computes least beyond the output, and of those the one with the fewest blocks."""
        height, width, depth = op.ofm.shape

        def cost(block: Any) -> tuple[int, int]:
            blocks = -(-height // block.height) * -(-width // block.width) * -(-depth // block.depth)
            return blocks * block.height * block.width * block.depth, blocks

        return min(api.npu_find_block_configs(op, self.accelerator), key=cost)


def _entropy(values: Int) -> float:
    """Bits of all values at the entropy of their distribution."""
    _, counts = np.unique(values, return_counts=True)
    return float(-(counts * np.log2(counts / values.size)).sum())


def _layout(where: Place) -> Any:
    return api.NpuLayout.NHCWB16 if where.bricks else api.NpuLayout.NHWC


def _clamp(ofm: Map, low: int, high: int) -> Any:
    """Vela takes bounds as real numbers; None where they are the type's own."""
    least, most = limits(ofm.dtype)
    if ofm.dtype == "int32" or (low <= least and high >= most):
        return None
    activation = api.NpuActivation(api.NpuActivationOp.NONE_OR_RELU)
    scale, zero = ofm.affine.scale, ofm.affine.zero
    activation.min, activation.max = (low - zero) * scale, (high - zero) * scale
    return activation
