"""Weights, biases and scales of a command stream: coded by Vela's codec, one stream for each core and layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tilewright.integer.network import Convolution, Lookup
from tilewright.integer.tables import KNOTS

try:
    from ethosu.vela import api
except ImportError:  # Vela is an optional extra
    api = None

_ALIGNMENT = 16
Span = tuple[int, int]
"""Address and length, in bytes."""


@dataclass(frozen=True)
class Coded:
    """Where a layer's weights and scales lie, by core."""

    weights: tuple[Span, ...]
    scales: tuple[Span, ...]

    @property
    def span(self) -> Span:
        """Of all of it together."""
        spans = (*self.weights, *self.scales)
        begin = min((address for address, _ in spans), default=0)
        return begin, max((address + length for address, length in spans), default=0) - begin


def part_kernel_first(shape: tuple[int, ...], input_bits: int) -> bool:
    """Whether weights (out, kernel h, kernel w, in) keep more multipliers busy kernel by kernel than depth by depth.

    Vela's rule: multipliers take 32 (16 bits: 16) input channels, or 8 channels by 4 (2) kernel elements.
    """
    _, height, width, depth = shape
    step = 4 if input_bits == 8 else 2
    elements, deep = height * width, 32 if input_bits == 8 else 16
    by_depth = depth / (-(-depth // deep) * deep)
    by_kernel = depth / (-(-depth // 8) * 8) * elements / (-(-elements // step) * step)
    return depth <= 8 or by_kernel >= by_depth


class Weights:
    """The contents of the weights' region, layer after layer."""

    def __init__(self, accelerator: Any, cores: int) -> None:
        self._accelerator = accelerator
        self._cores = cores
        self._bytes = bytearray()

    def data(self) -> bytes:
        """All of it."""
        return bytes(self._bytes)

    def add(self, operation: Convolution, op: Any) -> Coded:
        """Codes a layer's weights and scales, for the blocks and the traversal of its operation."""
        channels = len(operation.weights)
        factors = np.broadcast_to(operation.output.factor, channels)
        shifts = np.broadcast_to(operation.output.shift, channels)
        weights, scales = [], []
        for core in range(min(self._cores, channels)):
            mine = slice(core, None, self._cores)
            records = (
                api.npu_encode_bias(np.int64(bias), int(factor), int(shift))
                for bias, factor, shift in zip(operation.bias[mine], factors[mine], shifts[mine], strict=True)
            )
            scales.append(self.append(b"".join(map(bytes, records))))
            weights.append(self.append(self._code(operation, op, mine, core)))
        return Coded(tuple(weights), tuple(scales))

    def add_table(self, operation: Lookup) -> Coded:
        """A table as the accelerator wants it: 256 values, or 512 pairs of a value and the step to the next one."""
        return Coded((), (self.append(table_image(operation.table)),))

    def _code(self, operation: Convolution, op: Any, mine: slice, core: int) -> bytes:
        dilate_y, dilate_x = operation.window.dilations
        traversal = api.NpuBlockTraversal.DEPTH_FIRST if operation.depthwise else op.block_traversal
        return bytes(
            api.npu_encode_weights(
                self._accelerator,
                np.ascontiguousarray(operation.weights[mine]).astype(np.int16),
                (dilate_x, dilate_y),
                op.ifm.data_type.size_in_bits(),
                (op.block_config.depth + self._cores - 1 - core) // self._cores,
                operation.depthwise,
                traversal,
            )
        )

    def append(self, data: bytes) -> Span:
        """Adds bytes as they are."""
        address = len(self._bytes)
        self._bytes += data + bytes(-len(data) % _ALIGNMENT)
        return address, len(self._bytes) - address


def table_image(table: NDArray[Any]) -> bytes:
    """A Lookup's table in the accelerator's memory (Vela, lut.py); tables of 513 entries are of int16."""
    if len(table) < KNOTS:
        return table.tobytes()
    values = table.astype(np.int64)
    return np.stack([values[:-1], np.diff(values)], 1).astype("<i2").tobytes()
