"""Integer networks of well-known shapes, for what depends on nothing else: weights are zeros."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from tilewright.integer.elementwise import Affine
from tilewright.integer.network import Binary, Convolution, Map, Network, Operation, Pooling
from tilewright.integer.windows import Window


@dataclass
class _Shapes:
    """Adds layers with SAME padding; each method returns the index of what it makes."""

    maps: list[Map] = field(default_factory=list)
    operations: list[Operation] = field(default_factory=list)

    def map(self, height: int, width: int, depth: int) -> int:
        self.maps.append(Map(f"m{len(self.maps)}", (height, width, depth), Affine(0.05, 3, "int8")))
        return len(self.maps) - 1

    def conv(self, source: int, channels: int, kernel: int, stride: int = 1, depthwise: bool = False) -> int:
        height, width, depth = self.maps[source].shape
        window = Window.same((height, width), (kernel,) * 2, (stride,) * 2)
        target = self.map(-(-height // stride), -(-width // stride), channels)
        weights = np.broadcast_to(np.int64(0), (channels, kernel, kernel, 1 if depthwise else depth))
        output = self.maps[target].affine.requantize(np.full(channels, 1e-3))
        bias = np.full(channels, 1 << 20)  # four bytes each
        name = f"{len(self.operations)} {'depthwise ' if depthwise else ''}{kernel} x {kernel}"
        self.operations.append(Convolution(name, source, target, weights, bias, window, output, depthwise))
        return target

    def add(self, first: int, second: int) -> int:
        target = self.map(*self.maps[first].shape)
        self.operations.append(Binary(f"{len(self.operations)} sum", "ADD", first, second, target))
        return target

    def pool(self, source: int, kind: str, kernel: int, stride: int) -> int:
        height, width, depth = self.maps[source].shape
        window = Window.same((height, width), (kernel,) * 2, (stride,) * 2) if kind == "MAX" else Window((kernel,) * 2)
        out = (-(-height // stride), -(-width // stride)) if kind == "MAX" else (1, 1)
        target = self.map(*out, depth)
        self.operations.append(Pooling(f"{len(self.operations)} pool", source, target, kind, window))
        return target

    def network(self, source: int, target: int) -> Network:
        return Network(tuple(self.maps), (source,), (target,), tuple(self.operations))


def efficientnet_lite0() -> Network:
    """Tan and Le 2019 (arXiv:1905.11946), the Lite0 variant at 224 x 224."""
    s = _Shapes()
    x = y = s.map(224, 224, 3)
    y = s.conv(y, 32, 3, 2)
    stages = ((1, 16, 1, 1, 3), (6, 24, 2, 2, 3), (6, 40, 2, 2, 5), (6, 80, 3, 2, 3), (6, 112, 3, 1, 5))
    for expand, channels, blocks, stride, kernel in (*stages, (6, 192, 4, 2, 5), (6, 320, 1, 1, 3)):
        for block in range(blocks):
            entry, depth = y, s.maps[y].shape[2]
            if expand > 1:
                y = s.conv(y, depth * expand, 1)
            y = s.conv(y, depth * expand, kernel, 1 if block else stride, depthwise=True)
            y = s.conv(y, channels, 1)
            y = s.add(y, entry) if block else y
    y = s.pool(s.conv(y, 1280, 1), "AVERAGE", 7, 1)
    return s.network(x, s.conv(y, 1000, 1))


def resnet50() -> Network:
    """He et al. 2015 (arXiv:1512.03385)."""
    s = _Shapes()
    x = s.map(224, 224, 3)
    y = s.pool(s.conv(x, 64, 7, 2), "MAX", 3, 2)
    for width, blocks in ((64, 3), (128, 4), (256, 6), (512, 3)):
        for block in range(blocks):
            stride = 2 if block == 0 and width > 64 else 1
            z = s.conv(s.conv(s.conv(y, width, 1), width, 3, stride), 4 * width, 1)
            y = s.add(z, y if block else s.conv(y, 4 * width, 1, stride))
    return s.network(x, s.conv(s.pool(y, "AVERAGE", 7, 1), 1000, 1))


def at_depth(network: Network, weights: int, activations: int) -> Network:
    """The network with all weights and maps of these depths, but for inputs and outputs."""
    outer = {*network.inputs, *network.outputs}
    dtype = "int8" if activations <= 8 else "int16"
    maps = tuple(
        source if index in outer else replace(source, affine=replace(source.affine, bits=activations, dtype=dtype))
        for index, source in enumerate(network.maps)
    )
    operations = tuple(
        replace(operation, bits=weights) if isinstance(operation, Convolution) else operation
        for operation in network.operations
    )
    return replace(network, maps=maps, operations=operations)
