"""2-D convolution, NHWC, any kernel size, stride, padding, dilation and groups (depthwise is in cpu_window.py).

A tile of neighbouring output pixels x vectors of output channels stays in registers through the whole reduction;
weights are packed [panel][kernel row][kernel column][input channel][channel in panel], so they stream. Padding is free:
rows outside the image are left out of the kernel-row loop's bounds, and tiles that touch the left or right border are
generated apart, with the multiplications that would meet padding left out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from tvm import te, tirx

from tilewright.targets.base import Device
from tilewright.targets.schedules.cpu_spatial import fetch_ahead, panel_nest, parallel_if, store_tile
from tilewright.targets.schedules.cpu_tile import Core, best_tile
from tilewright.targets.schedules.fused import Fused, mark, take_apart
from tilewright.targets.schedules.ir import RegisterTile, i64, i64s, loop, padded, ramp, sequence
from tilewright.targets.schedules.window import Window


@dataclass(frozen=True)
class Conv2d:
    """A convolution and its tile: ``panel`` output channels are packed together, ``rows`` pixels share registers."""

    window: Window
    channels: int
    out_channels: int
    groups: int = 1
    panel: int = 0
    rows: int = 0

    @property
    def group_channels(self) -> int:
        """Input channels that an output channel reads."""
        return self.channels // self.groups

    @property
    def group_outputs(self) -> int:
        return self.out_channels // self.groups

    @property
    def group_panels(self) -> int:
        return -(-self.group_outputs // self.panel)

    @property
    def depth(self) -> int:
        """Multiplications for one output."""
        return self.window.kernel_height * self.window.kernel_width * self.group_channels

    @property
    def is_pointwise(self) -> bool:
        """Whether pixels map to pixels in order, so that the image is one long row."""
        w = self.window
        return (
            (w.kernel_height, w.kernel_width, w.stride_h, w.stride_w) == (1, 1, 1, 1)
            and (w.pad_top, w.pad_left) == (0, 0)
            and (w.out_height, w.out_width) == (w.height, w.width)
        )

    def tiled(self, core: Core) -> Conv2d:
        """The same convolution with its register tile chosen."""
        w = self.window
        row = w.batch * w.out_height * w.out_width if self.is_pointwise else w.out_width
        tile = best_tile(row, self.group_outputs, self.depth, core)
        return replace(self, panel=tile.vectors * core.lanes, rows=tile.rows)


def pack_weights(weights: npt.NDArray[np.generic], panel: int, groups: int = 1) -> npt.NDArray[np.generic]:
    """OIHW weights as [group, panel][kernel row, kernel column, input channel][channel in panel], padded with zeros."""
    outputs, channels, height, width = weights.shape
    per_group = outputs // groups
    panels = -(-per_group // panel)
    packed = np.zeros((groups, panels * panel, height * width * channels), weights.dtype)
    packed[:, :per_group] = weights.transpose(0, 2, 3, 1).reshape(groups, per_group, -1)
    return np.ascontiguousarray(packed.reshape(groups * panels, panel, -1).transpose(0, 2, 1))


def packing(conv: Conv2d) -> Any:
    """The PrimFunc (OIHW weights, packed weights) that does what `pack_weights` does: for weights known at load."""
    c, w = conv, conv.window
    weight = te.placeholder(
        i64s(c.out_channels, c.group_channels, w.kernel_height, w.kernel_width), "float32", "weight"
    )

    def element(panel: Any, step: Any, lane: Any) -> Any:
        group, channel = panel // c.group_panels, panel % c.group_panels * c.panel + lane
        place, inner = step // c.group_channels, step % c.group_channels
        value = weight[group * c.group_outputs + channel, inner, place // w.kernel_width, place % w.kernel_width]
        return value if c.group_outputs % c.panel == 0 else padded(channel < c.group_outputs, value)

    return te.create_prim_func(
        [weight, te.compute(i64s(c.groups * c.group_panels, c.depth, c.panel), element, name="pack")]
    )


def conv2d(conv: Conv2d, dtype: str = "float32") -> Any:
    """The PrimFunc (input NHWC, packed weights, output NHWC) that the rule of this file recognises after fusion."""
    c, w = conv, conv.window
    data = te.placeholder(i64s(w.batch, w.height, w.width, c.channels), dtype, "data")
    weight = te.placeholder(i64s(c.groups * c.group_panels, c.depth, c.panel), dtype, "weight")
    i = te.reduce_axis((i64(0), i64(w.kernel_height)), "i")
    j = te.reduce_axis((i64(0), i64(w.kernel_width)), "j")
    k = te.reduce_axis((i64(0), i64(c.group_channels)), "k")

    def element(n: Any, y: Any, x: Any, o: Any) -> Any:
        group, inner = o // c.group_outputs, o % c.group_outputs
        channel = group * c.group_channels + k if c.groups > 1 else k
        value, inside = data[n, w.row(y, i), w.column(x, j), channel], w.inside(y, x, i, j)
        if inside is not None:
            value = tirx.if_then_else(inside, value, tirx.const(0, dtype))
        step = (i * w.kernel_width + j) * c.group_channels + k
        panel = group * c.group_panels + inner // c.panel
        return te.sum(value * weight[panel, step, inner % c.panel], axis=[i, j, k])

    shape = i64s(w.batch, w.out_height, w.out_width, c.out_channels)
    result = te.compute(shape, element, name="conv2d", attrs=mark("conv2d", **asdict(conv)))
    return te.create_prim_func([data, weight, result]).with_attr("op_pattern", 4)


def conv2d_rule(func: Any, device: Device) -> Any:
    """Schedules a fused ``conv2d`` of this file."""
    fused = take_apart(func, "conv2d")
    if fused is None or len(fused.operands) != 2:
        return None
    conv = Conv2d(**{**fused.parameters, "window": Window(**fused.parameters["window"])})
    return fused.finish(_Emitter(fused, conv, Core.of(device)).body())


@dataclass(frozen=True)
class _Emitter:
    fused: Fused
    conv: Conv2d
    core: Core
    group: Any = 0

    def body(self) -> Any:
        c, w = self.conv, self.conv.window
        if c.groups == 1:
            return self._one_group()
        work = w.batch * w.out_height * w.out_width * c.out_channels * c.depth
        return loop(
            c.groups, lambda g: replace(self, group=g)._one_group(), parallel_if(work, self.core), "group"
        )  # groups are the parallel loop, so the loops inside are serial

    def _one_group(self) -> Any:
        return self._pointwise() if self.conv.is_pointwise else self._general()

    def _nest(self, rows: int, row_body: Callable[[Any, Any, int], Any]) -> list[Any]:
        c, w = self.conv, self.conv.window
        work = w.batch * w.out_height * w.out_width * c.out_channels * c.depth if c.groups == 1 else 0
        return panel_nest(rows, c.group_outputs, c.panel, 4 * c.depth * c.group_outputs, work, self.core, row_body)

    def _pointwise(self) -> Any:
        c, w = self.conv, self.conv.window
        pixels = w.batch * w.height * w.width
        full, rest = divmod(pixels, c.rows)

        def tile_at(first: Any, size: int, panel: Any, channels: int) -> Any:
            def x(row: int, step: Any) -> Any:
                return self._load(
                    i64(0), i64(0), i64(0), (first + row) * c.channels + self.group * c.group_channels + step
                )

            def position(row: int) -> list[Any]:
                pixel = first + row
                return [
                    tirx.floordiv(pixel, w.height * w.width) if w.batch > 1 else i64(0),
                    tirx.floormod(tirx.floordiv(pixel, w.width), w.height),
                    tirx.floormod(pixel, w.width),
                ]

            def reduce(tile: RegisterTile) -> list[Any]:
                return [
                    loop(
                        c.group_channels,
                        lambda k: self._step(tile, [x(r, k) for r in range(size)], panel, k),
                        name="k",
                    )
                ]

            return self._tile(size, panel, channels, reduce, position)

        parts = []
        if full:
            parts += self._nest(full, lambda t, panel, width: tile_at(t * c.rows, c.rows, panel, width))
        if rest:
            parts += self._nest(1, lambda t, panel, width: tile_at(i64(full * c.rows), rest, panel, width))
        return sequence(parts)

    def _general(self) -> Any:
        c, w = self.conv, self.conv.window

        def row(index: Any, panel: Any, channels: int) -> Any:
            image, y = tirx.floordiv(index, w.out_height), tirx.floormod(index, w.out_height)

            def group(start: int, size: int, count: int) -> Any:
                return loop(
                    count,
                    lambda t: self._row_tile(image, y, start + t * c.rows, start, size, panel, channels),
                    name="column",
                )

            return sequence([group(*columns) for columns in w.column_groups(c.rows)])

        return sequence(self._nest(w.batch * w.out_height, row))

    # -- one tile

    def _row_tile(self, image: Any, y: Any, x: Any, start: int, size: int, panel: Any, channels: int) -> Any:
        """Output pixels ``x .. x + size`` of row ``y``; ``start`` is the first x that this code runs for."""
        c, w = self.conv, self.conv.window
        low, high = w.rows_met(y)
        first = self.group * c.group_channels

        def reduce(tile: RegisterTile) -> list[Any]:
            def kernel_row(k: Any) -> Any:
                i = k + low
                base = i * (w.kernel_width * c.group_channels)

                def steps(count: int, j: int) -> Any:
                    live = [w.meets(start + p)[j] for p in range(size)]

                    def step(s: Any) -> Any:
                        scalars = [
                            self._load(image, w.row(y, i), w.column(x + p, j), s + first) if live[p] else None
                            for p in range(size)
                        ]
                        return self._step(tile, scalars, panel, base + j * c.group_channels + s)

                    return loop(count, step, name="k")

                if w.is_inner(start, size) and w.dilation_w == 1 and c.groups == 1:
                    return steps(w.kernel_width * c.channels, 0)  # neighbours in the row are neighbours in memory
                columns = [
                    steps(c.group_channels, j)
                    for j in range(w.kernel_width)
                    if any(w.meets(start + p)[j] for p in range(size))
                ]
                return sequence(columns) if columns else tirx.Evaluate(0)

            return [loop(high - low, kernel_row, name="i")]

        return self._tile(size, panel, channels, reduce, lambda p: [image, y, x + p])

    def _load(self, *indices: Any) -> Any:
        return tirx.BufferLoad(self.fused.operands[0], list(indices))

    def _step(self, tile: RegisterTile, scalars: Sequence[Any], panel: Any, step: Any) -> Any:
        """One step of the reduction: a scalar for each pixel, or None, by the weights of a panel."""
        weight = self.fused.operands[1]
        panel = panel + self.group * self.conv.group_panels
        weights = [
            tirx.BufferLoad(weight, [panel, step, ramp(i64(v * tile.lanes), tile.lanes)]) for v in range(tile.vectors)
        ]
        ahead = []
        if self.core.streams(4 * math.prod(int(size) for size in weight.shape)):
            ahead = fetch_ahead(weight, [panel, step, i64(0)], tile.vectors * tile.lanes)
        return sequence([*ahead, tile.multiply_add(scalars, weights)])

    def _tile(
        self,
        size: int,
        panel: Any,
        channels: int,
        reduce: Callable[[RegisterTile], list[Any]],
        position: Callable[[int], list[Any]],
    ) -> Any:
        lanes = self.core.lanes
        tile = RegisterTile.make(size, -(-channels // lanes), lanes)
        return sequence(
            [
                *tile.fill(0.0),
                *reduce(tile),
                *store_tile(
                    self.fused, tile, panel * self.conv.panel + self.group * self.conv.group_outputs, channels, position
                ),
            ]
        )
