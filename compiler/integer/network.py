"""Quantized layers as integer operations: what an NNA target compiles, and how its result is defined.

Feature maps are (height, width, channels) of one sample. ``run`` is the reference that every executor equals.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tilewright.integer import windows
from tilewright.integer.elementwise import Affine, add, mul, subtract
from tilewright.integer.rounding import Int, Requantize, limits
from tilewright.integer.windows import Window


@dataclass(frozen=True)
class Map:
    """A feature map: its name, shape (height, width, channels), and how integers stand for numbers.

    Maps of int32 hold accumulators; their scale is one for all channels and has no meaning.
    """

    name: str
    shape: tuple[int, int, int]
    affine: Affine

    @property
    def dtype(self) -> str:
        return self.affine.dtype

    @property
    def nbytes(self) -> int:
        return int(np.prod(self.shape)) * np.dtype(self.dtype).itemsize


@dataclass(frozen=True)
class Convolution:
    """A convolution, depthwise convolution or fully connected layer (a kernel of 1x1 over a 1x1 map).

    Attributes:
        layer: name of the layer.
        source, target: indices of its maps.
        weights: (out channels, kernel h, kernel w, in channels), in channels 1 if depthwise; up to 9 bits.
        bias: (out channels,), in units of an accumulator.
        output: from accumulators to the target.
    """

    layer: str
    source: int
    target: int
    weights: Int = field(repr=False)
    bias: Int = field(repr=False)
    window: Window
    output: Requantize = field(repr=False)
    depthwise: bool = False

    @property
    def sources(self) -> tuple[int, ...]:
        return (self.source,)


@dataclass(frozen=True)
class Pooling:
    """Maximum (``MAX``) or mean (``AVERAGE``) over windows; both maps have one scale and zero point."""

    layer: str
    source: int
    target: int
    kind: str
    window: Window

    @property
    def sources(self) -> tuple[int, ...]:
        return (self.source,)


@dataclass(frozen=True)
class Binary:
    """The sum (``ADD``), difference (``SUB``) or product (``MUL``) of two maps of one shape."""

    layer: str
    kind: str
    first: int
    second: int
    target: int

    @property
    def sources(self) -> tuple[int, ...]:
        return (self.first, self.second)


@dataclass(frozen=True)
class Lookup:
    """A function of single elements, by table.

    Attributes:
        table: 256 values of the target's type, the first for the source type's least value.
    """

    layer: str
    source: int
    target: int
    table: NDArray[Any] = field(repr=False)

    @property
    def sources(self) -> tuple[int, ...]:
        return (self.source,)


@dataclass(frozen=True)
class View:
    """The same bytes in another shape."""

    layer: str
    source: int
    target: int

    @property
    def sources(self) -> tuple[int, ...]:
        return (self.source,)


Operation = Convolution | Pooling | Binary | Lookup | View


_BINARY = {"ADD": add, "SUB": subtract, "MUL": mul}


@dataclass(frozen=True)
class Network:
    """Operations in the order of execution, and which maps come from outside and go there."""

    maps: tuple[Map, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    operations: tuple[Operation, ...]


def run(network: Network, inputs: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
    """The outputs of a network, bit for bit.

    Args:
        inputs: of the maps' shapes and types.
    """
    values: dict[int, Int] = {}
    for index, array in zip(network.inputs, inputs, strict=True):
        values[index] = array.reshape(network.maps[index].shape).astype(np.int64)
    for operation in network.operations:
        values[operation.target] = _run(network, operation, values)
    return [values[index].astype(network.maps[index].dtype) for index in network.outputs]


def _run(network: Network, operation: Operation, values: dict[int, Int]) -> Int:
    target, maps = network.maps[operation.target], network.maps
    low, high = limits(target.dtype)
    first = values[operation.sources[0]]
    if isinstance(operation, View):
        return first.reshape(target.shape)
    x, zero = first[None], maps[operation.sources[0]].affine.zero
    if isinstance(operation, Convolution):
        if operation.depthwise:
            weights = operation.weights[..., 0].transpose(1, 2, 0)
            y = windows.depthwise_conv2d(x, zero, weights, operation.bias, operation.window, operation.output)
        else:
            y = windows.conv2d(x, zero, operation.weights, operation.bias, operation.window, operation.output)
    elif isinstance(operation, Pooling):
        pool = windows.max_pool if operation.kind == "MAX" else windows.average_pool
        y = pool(x, operation.window, low, high)
    elif isinstance(operation, Lookup):
        y = operation.table[x - limits(maps[operation.source].dtype)[0]].astype(np.int64)
    else:
        types = (maps[operation.first].affine, maps[operation.second].affine)
        y = _BINARY[operation.kind](x, types[0], values[operation.second][None], types[1], target.affine)
    result: Int = y[0]
    return result
