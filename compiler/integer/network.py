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
from tilewright.integer.depths import packed_bytes
from tilewright.integer.elementwise import Affine, add, mul, subtract
from tilewright.integer.rounding import Int, Requantize
from tilewright.integer.tables import interpolate
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
    def elements(self) -> int:
        return int(np.prod(self.shape))

    @property
    def nbytes(self) -> int:
        """Bytes as arrays of the type."""
        return self.elements * np.dtype(self.dtype).itemsize

    @property
    def packed_bytes(self) -> int:
        """Bytes at the map's depth, without padding."""
        return packed_bytes(self.elements, self.affine.bits)


@dataclass(frozen=True)
class Convolution:
    """A convolution, depthwise convolution or fully connected layer (a kernel of 1x1 over a 1x1 map).

    Attributes:
        layer: name of the layer.
        source, target: indices of its maps.
        weights: (out channels, kernel h, kernel w, in channels), in channels 1 if depthwise; signed integers.
        bias: (out channels,), in units of an accumulator.
        output: from accumulators to the target.
        bits: depth of the weights.
    """

    layer: str
    source: int
    target: int
    weights: Int = field(repr=False)
    bias: Int = field(repr=False)
    window: Window
    output: Requantize = field(repr=False)
    depthwise: bool = False
    bits: int = 8

    @property
    def weight_bytes(self) -> int:
        """Bytes of the weights at their depth, without padding."""
        return packed_bytes(self.weights.size, self.bits)

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
    """The sum (``ADD``), difference (``SUB``) or product (``MUL``) of two maps, which broadcast as in NumPy.

    ``clamp`` is None or the least and the greatest result.
    """

    layer: str
    kind: str
    first: int
    second: int
    target: int
    clamp: tuple[int, int] | None = None

    @property
    def sources(self) -> tuple[int, ...]:
        return (self.first, self.second)


@dataclass(frozen=True)
class Lookup:
    """A function of single elements, by table.

    Attributes:
        table: values of the target's type. Of up to 8 bits there is one for each integer of the source, the least
            first; deeper sources have 513, between which is interpolated (``tables.interpolate``).
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


@dataclass(frozen=True)
class Concat:
    """Maps one after another along the channels; all have the target's scale, zero point and depth."""

    layer: str
    parts: tuple[int, ...]
    target: int

    @property
    def sources(self) -> tuple[int, ...]:
        return self.parts


@dataclass(frozen=True)
class Resize:
    """Each element ``factors`` times (down, right): nearest neighbours. Both maps have one quantization."""

    layer: str
    source: int
    target: int
    factors: tuple[int, int]

    @property
    def sources(self) -> tuple[int, ...]:
        return (self.source,)


Operation = Convolution | Pooling | Binary | Lookup | View | Concat | Resize


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
        inputs: of the maps' shapes and types; they saturate at the maps' depths.
    """
    values: dict[int, Int] = {}
    for index, array in zip(network.inputs, inputs, strict=True):
        source = network.maps[index]
        values[index] = np.clip(array.reshape(source.shape).astype(np.int64), *source.affine.limits)
    for operation in network.operations:
        values[operation.target] = _run(network, operation, values)
    return [values[index].astype(network.maps[index].dtype) for index in network.outputs]


def _run(network: Network, operation: Operation, values: dict[int, Int]) -> Int:
    target, maps = network.maps[operation.target], network.maps
    low, high = target.affine.limits
    first, before = values[operation.sources[0]], maps[operation.sources[0]].affine
    if isinstance(operation, View):
        return first.reshape(target.shape)
    if isinstance(operation, Concat):
        return np.concatenate([values[index] for index in operation.parts], 2)
    if isinstance(operation, Resize):
        return first.repeat(operation.factors[0], 0).repeat(operation.factors[1], 1)
    x, zero = first[None], before.zero
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
        table, place = operation.table.astype(np.int64), x - before.limits[0]
        y = table[place] if before.bits <= 8 else interpolate(place, table, before.bits)
    else:
        second = values[operation.second][None]
        other = maps[operation.second].affine
        y = _BINARY[operation.kind](x, before, second, other, target.affine, operation.clamp)
    result: Int = y[0]
    return result
