"""Random integer networks whose maps and weights have any depth."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tilewright.integer.depths import DEPTHS
from tilewright.integer.elementwise import Affine
from tilewright.integer.network import (
    Binary,
    Concat,
    Convolution,
    Lookup,
    Map,
    Network,
    Operation,
    Pooling,
    Resize,
    View,
)
from tilewright.integer.rounding import Requantize, Rounding
from tilewright.integer.tables import KNOTS
from tilewright.integer.windows import Window


@dataclass
class Builder:
    """Adds operations; each method returns the index of what it makes. Depths, signs and zero points are drawn."""

    seed: int = 0
    maps: list[Map] = field(default_factory=list)
    operations: list[Operation] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.random = np.random.default_rng(self.seed)

    def affine(self, bits: int = 0, scale: float = 0.0) -> Affine:
        bits = bits or int(self.random.choice(DEPTHS))
        dtype = f"{self.random.choice(['', 'u'])}int{8 if bits <= 8 else 16}"
        low = Affine(1.0, 0, dtype, bits).limits[0]
        zero = low + int(self.random.integers(1 << bits))
        return Affine(float(np.float32(scale or self.random.uniform(1, 3) / (1 << bits))), zero, dtype, bits)

    def map(self, *shape: int, affine: Affine | None = None, bits: int = 0) -> int:
        self.maps.append(Map(f"m{len(self.maps)}", (shape[0], shape[1], shape[2]), affine or self.affine(bits)))
        return len(self.maps) - 1

    def conv(
        self,
        source: int,
        channels: int,
        kernel: tuple[int, int] = (1, 1),
        strides: tuple[int, int] = (1, 1),
        dilations: tuple[int, int] = (1, 1),
        depthwise: bool = False,
        sums: bool = False,
        bits: int = 0,
    ) -> int:
        height, width, depth = self.maps[source].shape
        window = Window.same((height, width), kernel, strides, dilations)
        bits = bits or int(self.random.choice(DEPTHS))
        half = 1 << bits - 1
        shape = (channels, *kernel, 1 if depthwise else depth)
        weights = self.random.integers(-half, half, shape)
        before = self.maps[source].affine
        spread = float(np.prod(shape[1:])) ** 0.5 * half * (1 << before.bits)
        bias = self.random.integers(-int(spread) - 1, int(spread) + 1, channels)
        out = (-(-height // strides[0]), -(-width // strides[1]), channels)
        if sums:
            target = self.map(*out, affine=Affine(1.0, 0, "int32"))
            output = Requantize(np.array([1]), np.array([0]), Rounding.TFL, 0, -(2**31), 2**31 - 1)
        else:
            target = self.map(*out)
            after = self.maps[target].affine
            rounding = list(Rounding)[int(self.random.integers(3))]
            count = channels if self.random.random() < 0.7 else 1
            scales = self.random.uniform(0.5, 2, count) * (1 << after.bits) / spread
            low, high = sorted(int(end) for end in self.random.integers(after.limits[0], after.limits[1] + 1, 2))
            clamp = (low, high) if self.random.random() < 0.3 else None
            output = Requantize.of(scales, after.zero, after.dtype, rounding, clamp, bits=after.bits)
        label = f"conv{len(self.operations)}"
        self.operations.append(Convolution(label, source, target, weights, bias, window, output, depthwise, bits))
        return target

    def pool(self, source: int, kind: str, kernel: tuple[int, int], strides: tuple[int, int] = (1, 1)) -> int:
        height, width, depth = self.maps[source].shape
        window = Window.same((height, width), kernel, strides)
        target = self.map(-(-height // strides[0]), -(-width // strides[1]), depth, affine=self.maps[source].affine)
        self.operations.append(Pooling(f"pool{len(self.operations)}", source, target, kind, window))
        return target

    def binary(self, kind: str, first: int, second: int) -> int:
        shapes = self.maps[first].shape, self.maps[second].shape
        target = self.map(*(max(sizes) for sizes in zip(*shapes, strict=True)))
        self.operations.append(Binary(f"{kind}{len(self.operations)}", kind, first, second, target))
        return target

    def lookup(self, source: int) -> int:
        target = self.map(*self.maps[source].shape)
        after, bits = self.maps[target].affine, self.maps[source].affine.bits
        low, high = after.limits
        table = self.random.integers(low, high + 1, 1 << bits if bits <= 8 else KNOTS).astype(after.dtype)
        self.operations.append(Lookup(f"lookup{len(self.operations)}", source, target, table))
        return target

    def concat(self, *parts: int) -> int:
        height, width, _ = self.maps[parts[0]].shape
        depth = sum(self.maps[part].shape[2] for part in parts)
        target = self.map(height, width, depth, affine=self.maps[parts[0]].affine)
        self.operations.append(Concat(f"concat{len(self.operations)}", parts, target))
        return target

    def resize(self, source: int, down: int, right: int) -> int:
        height, width, depth = self.maps[source].shape
        target = self.map(height * down, width * right, depth, affine=self.maps[source].affine)
        self.operations.append(Resize(f"resize{len(self.operations)}", source, target, (down, right)))
        return target

    def flatten(self, source: int) -> int:
        target = self.map(1, 1, self.maps[source].elements, affine=self.maps[source].affine)
        self.operations.append(View(f"view{len(self.operations)}", source, target))
        return target

    def network(self, inputs: list[int], outputs: list[int]) -> Network:
        return Network(tuple(self.maps), tuple(inputs), tuple(outputs), tuple(self.operations))

    def inputs(self, network: Network) -> list[NDArray[Any]]:
        """Integers of the inputs' depths."""
        found = []
        for index in network.inputs:
            source = network.maps[index]
            low, high = source.affine.limits
            found.append(self.random.integers(low, high + 1, source.shape).astype(source.dtype))
        return found


def every_operation(seed: int = 0) -> tuple[Builder, Network]:
    """Every operation once or more, of random depths."""
    b = Builder(seed)
    x = b.map(9, 8, 5)
    y = b.conv(x, 12, (3, 2), bits=4)
    z = b.lookup(b.conv(y, 12, (3, 3), (2, 2), depthwise=True))
    total = b.binary("ADD", z, b.conv(z, 12))
    gate = b.lookup(b.conv(b.pool(total, "AVERAGE", (5, 4), (5, 4)), 12))
    total = b.binary("SUB", b.lookup(total), b.binary("MUL", total, gate))
    both = b.concat(total, b.pool(total, "MAX", (3, 3)))
    wide = b.conv(b.resize(both, 2, 3), 7, (2, 3), (3, 2), (1, 2))
    return b, b.network([x], [b.conv(b.flatten(wide), 10, sums=True, bits=8), wide, gate])
