"""Random integer networks that use every operation."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field

import numpy as np

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
)  # fmt: skip
from tilewright.integer.rounding import Requantize, Rounding, limits
from tilewright.integer.tables import KNOTS
from tilewright.integer.windows import Window


@dataclass
class Builder:
    """Adds operations; each method returns the index of what it makes."""

    seed: int = 0
    dtype: str = "uint8"
    maps: list[Map] = field(default_factory=list)
    operations: list[Operation] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.random = np.random.default_rng(self.seed)

    @property
    def deep(self) -> bool:
        """Whether maps have 16 bits, and no zero points."""
        return self.dtype == "int16"

    def map(self, *shape: int, scale: float = 0.05, zero: int = 7, dtype: str = "") -> int:
        if (dtype or self.dtype) == "int16":
            scale, zero = scale / 256, 0
        affine = Affine(float(np.float32(scale)), zero, dtype or self.dtype)
        self.maps.append(Map(f"m{len(self.maps)}", (shape[0], shape[1], shape[2]), affine))
        return len(self.maps) - 1

    def conv(
        self,
        source: int,
        channels: int,
        kernel: int,
        stride: int = 1,
        dilation: int = 1,
        depthwise: bool = False,
        clamp: tuple[int, int] | None = None,
        accumulators: bool = False,
        most: int = 127,
        alike: int | None = None,
    ) -> int:
        height, width, depth = self.maps[source].shape
        window = Window.same((height, width), (kernel,) * 2, (stride,) * 2, (dilation,) * 2)
        shape = (channels, kernel, kernel, 1 if depthwise else depth)
        weights = self.random.integers(-most, most + 1, shape)
        bias = self.random.integers(-3000, 3000, channels)
        out = (-(-height // stride), -(-width // stride), channels)
        if accumulators:
            target = self.map(*out, scale=1.0, zero=0, dtype="int32")
            rounding = Rounding.NATURAL if self.deep else Rounding.TFL
            output = Requantize(np.array([1]), np.array([5 if self.deep else 0]), rounding, 0, -(2**31), 2**31 - 1)
        elif alike is not None:
            target = self.like(alike, *out)
        else:
            target = self.map(
                *out, scale=float(self.random.uniform(0.02, 0.08)), zero=int(self.random.integers(0, 100))
            )
        if not accumulators:
            spread = 80 * most * 0.6 * (kernel * kernel * shape[3]) ** 0.5
            scales = self.random.uniform(20, 60, channels) / spread
            deep = [self.maps[index].affine.bits > 8 for index in (source, target)]
            scales = scales * 2.0 ** (8 * (deep[1] - deep[0]))
            output = self.maps[target].affine.requantize(scales, clamp, deep[0])
        label = f"conv{len(self.operations)}"
        self.operations.append(Convolution(label, source, target, weights, bias, window, output, depthwise))
        return target

    def like(self, source: int, *shape: int) -> int:
        """A map with the quantization of another one."""
        target = self.map(*shape)
        self.maps[target] = dataclasses.replace(self.maps[target], affine=self.maps[source].affine)
        return target

    def pool(self, source: int, kind: str, kernel: int, stride: int = 1, same: bool = False) -> int:
        height, width, depth = self.maps[source].shape
        window = Window((kernel,) * 2, (stride,) * 2)
        if same:
            window = Window.same((height, width), window.kernel, window.strides)
        top, left, bottom, right = window.pads
        out = [(size - kernel) // stride + 1 for size in (height + top + bottom, width + left + right)]
        target = self.like(source, *out, depth)
        self.operations.append(Pooling(f"pool{len(self.operations)}", source, target, kind, window))
        return target

    def binary(
        self, kind: str, first: int, second: int, scale: float = 0.0, clamp: tuple[int, int] | None = None
    ) -> int:
        target = self.map(*self.maps[first].shape, scale=scale or (0.3 if kind == "MUL" else 0.09), zero=40)
        self.operations.append(Binary(f"{kind}{len(self.operations)}", kind, first, second, target, clamp))
        return target

    def lookup(self, source: int) -> int:
        target = self.map(*self.maps[source].shape, scale=0.02, zero=11)
        low, high = limits(self.dtype)
        # Neighbours in a table between which is interpolated differ by less than 2^15.
        shape, most = (KNOTS, (low // 2, high // 2)) if self.deep else (256, (low, high))
        table = self.random.integers(*most, shape).astype(self.dtype)
        self.operations.append(Lookup(f"lookup{len(self.operations)}", source, target, table))
        return target

    def concat(self, *parts: int) -> int:
        height, width, _ = self.maps[parts[0]].shape
        target = self.like(parts[0], height, width, sum(self.maps[part].shape[2] for part in parts))
        assert len({self.maps[part].affine for part in parts}) == 1
        self.operations.append(Concat(f"concat{len(self.operations)}", parts, target))
        return target

    def resize(self, source: int, factor: int) -> int:
        height, width, depth = self.maps[source].shape
        target = self.like(source, height * factor, width * factor, depth)
        self.operations.append(Resize(f"resize{len(self.operations)}", source, target, (factor, factor)))
        return target

    def flatten(self, source: int) -> int:
        target = self.like(source, 1, 1, int(np.prod(self.maps[source].shape)))
        self.operations.append(View(f"view{len(self.operations)}", source, target))
        return target

    def network(self, inputs: list[int], outputs: list[int]) -> Network:
        return Network(tuple(self.maps), tuple(inputs), tuple(outputs), tuple(self.operations))


def residual(dtype: str = "uint8", seed: int = 0) -> Network:
    """Every operation once: convolutions, a sum, both poolings, a view, and accumulators as a result."""
    b = Builder(seed, dtype)
    x = b.map(12, 11, 16)
    y = b.conv(x, 24, 3, clamp=(3, 120))
    z = b.conv(y, 24, 3, stride=2, depthwise=True)
    total = b.binary("ADD", z, b.conv(z, 24, 1))
    total = b.binary("SUB", b.lookup(total), b.binary("MUL", total, z))
    low = b.pool(b.pool(total, "MAX", 2, 2), "AVERAGE", 3, same=True)
    wide = b.conv(b.conv(total, 40, 3, dilation=2, most=7), 9, 5, stride=3)
    return b.network([x], [b.conv(b.flatten(low), 10, 1, accumulators=True), wide])


def joined(dtype: str, first: int, seed: int = 0) -> Network:
    """Concatenations of what is written in place and of what is copied, and doubling.

    Args:
        first: channels of the first part: multiples of 16 let results lie in blocks of channels.
    """
    b = Builder(seed, dtype)
    x = b.map(6, 5, 16)

    def conv(source: int, channels: int, kernel: int) -> int:
        return b.conv(source, channels, kernel, alike=x)

    y, z = conv(x, first, 3), conv(x, 24, 1)
    inner = b.concat(y, z)
    shown = conv(b.concat(b.pool(inner, "MAX", 3, same=True), inner, z), 20, 3)
    # An input, an output, a part twice, and a map that is viewed.
    outer = b.concat(x, b.resize(b.pool(shown, "AVERAGE", 1), 1), shown)
    wide = b.resize(conv(outer, 20, 1), 4)
    flat = b.flatten(b.concat(conv(outer, first, 3), conv(outer, 9, 3)))
    return b.network([x], [shown, b.concat(wide, b.resize(conv(z, 7, 1), 4)), b.conv(flat, 10, 1)])
