"""2-D convolution by Winograd's minimal filtering (winograd.py), NHWC, stride 1, square kernels of three or five.

As many tiles of the image as fit the second-level cache are brought to points, each point's products are one matrix
product [tiles, channels] x [channels, outputs], and tiles of results come back from points. The file holds weights as
they are, packed as cpu_conv.py packs them; they are brought to points when the artifact is loaded.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from tvm import te, tirx

from tilewright.targets.base import Device
from tilewright.targets.schedules.cpu_tile import Core, best_tile
from tilewright.targets.schedules.fused import mark
from tilewright.targets.schedules.ir import i64, i64s
from tilewright.targets.schedules.window import Window
from tilewright.targets.schedules.winograd import Transforms, from_points, operations, sizes, to_points, transforms
from tilewright.targets.static import OPERATIONS, TEMPLATE

WEIGHTS = "winograd_weights"  # which kernel makes them

_TRANSFORM = 6  # instructions a vector that is read or written while a tile is brought to points or back
_FAR, _AGAIN = 1 / 5, 1 / 8  # cycles a byte of weights, and of those read a moment before


@dataclass(frozen=True)
class Winograd:
    """A convolution and its tiles.

    Attributes:
        outputs: results of a tile in each direction.
        panel: output channels that are packed together. rows: tiles that share registers.
        block: tiles that are brought to points together.
    """

    window: Window
    channels: int
    out_channels: int
    outputs: int
    panel: int
    rows: int
    block: int

    @property
    def transforms(self) -> Transforms:
        return transforms(self.outputs, self.window.kernel_height)

    @property
    def points(self) -> int:
        """Products for a tile, an input channel and an output channel."""
        return self.transforms.size**2

    @property
    def grid(self) -> tuple[int, int]:
        """Tiles down and across an image."""
        return -(-self.window.out_height // self.outputs), -(-self.window.out_width // self.outputs)

    @property
    def tiles(self) -> int:
        down, across = self.grid
        return self.window.batch * down * across

    @property
    def panels(self) -> int:
        return -(-self.out_channels // self.panel)

    @property
    def weight_shape(self) -> tuple[int, int, int, int]:
        """Of weights at points: panel, point, channel, output in the panel."""
        return self.panels, self.points, self.channels, self.panel

    def streams(self, core: Core) -> bool:
        """Whether weights come anew from beyond the second-level cache."""
        return core.streams(4 * math.prod(self.weight_shape))

    def cycles(self, core: Core) -> float:
        """What the model of a core expects."""
        down, across = -(-self.channels // core.lanes), -(-self.out_channels // core.lanes)
        moved = self.tiles * (down * 2 * self.points + across * (self.points + self.outputs**2))
        products = self.points * _product_cycles(
            self.tiles, self.rows, self.out_channels, self.panel, self.channels, core
        )
        again = -(-self.tiles // self.block) - 1 if self.streams(core) else 0
        reading = 4 * math.prod(self.weight_shape) * (_FAR + again * _AGAIN)
        return products + reading + _TRANSFORM * moved / core.loads_per_cycle

    @property
    def operations(self) -> int:
        """Multiplications and additions of the products and of the transforms, those of weights aside."""
        t = self.transforms
        before = self.channels * operations(to_points, t.data)
        after = self.out_channels * operations(from_points, t.result)
        return self.tiles * (before + after + 2 * self.points * self.channels * self.out_channels)


def fastest(window: Window, channels: int, out_channels: int, groups: int, device: Device) -> Winograd | None:
    """The tiles that the model of a core expects to be fastest; None where direct convolution is, or there are none."""
    core, w, taps = Core.of(device), window, window.kernel_height
    regular = (w.stride_h, w.stride_w, w.dilation_h, w.dilation_w) == (1, 1, 1, 1)
    if not regular or groups != 1 or w.kernel_width != taps or taps not in (3, 5):
        return None
    outputs = [outputs for outputs in sizes(taps) if outputs <= device.facts["winograd"]]
    found = [tiled(window, channels, out_channels, count, core) for count in outputs]
    best = min(found, key=lambda one: one.cycles(core), default=None)
    return best if best is not None and best.cycles(core) < _direct(window, channels, out_channels, core) else None


def speedup(window: Window, channels: int, out_channels: int, groups: int, device: Device) -> float:
    """How many times as fast as the direct convolution the model expects the dense kernel to be."""
    best, core = fastest(window, channels, out_channels, groups, device), Core.of(device)
    return 1.0 if best is None else _direct(window, channels, out_channels, core) / best.cycles(core)


def _direct(window: Window, channels: int, out_channels: int, core: Core) -> float:
    """Cycles of cpu_conv.py for a convolution without groups."""
    w, depth = window, window.kernel_height * window.kernel_width * channels
    tile = best_tile(w.out_width, out_channels, depth, core)
    pixels, panel = w.batch * w.out_height * w.out_width, tile.vectors * core.lanes
    products = _product_cycles(pixels, tile.rows, out_channels, panel, depth, core)
    return products + 4 * depth * out_channels * _FAR


def _product_cycles(rows: int, tile: int, columns: int, panel: int, depth: int, core: Core) -> float:
    """Of a matrix product [rows, depth] x [depth, columns], ``tile`` rows by a panel of columns at a time."""
    tile, vectors = min(tile, rows), panel // core.lanes
    one = depth * core.step_cycles(tile, vectors) + 10 + 1.5 * tile * vectors
    return rows / tile * -(-columns // panel) * one


def tiled(
    window: Window, channels: int, out_channels: int, outputs: int, core: Core, most: int | None = None
) -> Winograd:
    """A convolution with its tiles chosen, ``outputs`` results of each in either direction.

    Args:
        most: tiles that are brought to points together, at most; as many as the second-level cache holds by default.
    """
    conv = Winograd(window, channels, out_channels, outputs, 1, 1, 1)
    tile = best_tile(conv.tiles, out_channels, channels, core)
    panel = tile.vectors * core.lanes
    most = most or max(1, core.l2_bytes // (4 * conv.points * (channels + panel)))
    block = -(-conv.tiles // -(-conv.tiles // most))
    return replace(conv, panel=panel, rows=min(tile.rows, block), block=block)


# -- what is computed


def winograd_weights(conv: Winograd) -> Any:
    """The PrimFunc (weights as ``cpu_conv.pack_weights`` orders them, weights at points)."""
    c, t = conv, conv.transforms
    packed = te.placeholder(i64s(c.panels, t.taps**2 * c.channels, c.panel), "float32", "weight")

    def element(panel: Any, point: Any, channel: Any, lane: Any) -> Any:
        terms = [
            _chosen(t.weights[:, i], point // t.size)
            * _chosen(t.weights[:, j], point % t.size)
            * packed[panel, (i * t.taps + j) * c.channels + channel, lane]
            for i in range(t.taps)
            for j in range(t.taps)
        ]
        return sum(terms[1:], terms[0])

    result = te.compute(i64s(*c.weight_shape), element, name=WEIGHTS)
    template = json.dumps({"kernel": WEIGHTS, "conv": asdict(conv)})
    function = te.create_prim_func([packed, result]).without_attr("global_symbol")
    return function.with_attr("op_pattern", 8).with_attr(TEMPLATE, template)


def winograd(conv: Winograd) -> Any:
    """The PrimFunc (input NHWC, weights at points, output NHWC) that the rule of this file recognises after fusion.

    It says what is computed by direct convolution, with weights brought back from the first points.
    """
    c, w, t = conv, conv.window, conv.transforms
    data = te.placeholder(i64s(w.batch, w.height, w.width, c.channels), "float32", "data")
    weight = te.placeholder(i64s(*c.weight_shape), "float32", "weight")
    i = te.reduce_axis((i64(0), i64(t.taps)), "i")
    j = te.reduce_axis((i64(0), i64(t.taps)), "j")
    k = te.reduce_axis((i64(0), i64(c.channels)), "k")
    back = np.linalg.inv(t.weights[: t.taps].astype(np.float64))

    def element(n: Any, y: Any, x: Any, o: Any) -> Any:
        value, inside = data[n, w.row(y, i), w.column(x, j), k], w.inside(y, x, i, j)
        if inside is not None:
            value = tirx.if_then_else(inside, value, tirx.const(0, "float32"))
        terms = [
            _chosen(back[:, p], i) * _chosen(back[:, q], j) * weight[o // c.panel, p * t.size + q, k, o % c.panel]
            for p in range(t.taps)
            for q in range(t.taps)
        ]
        return te.sum(value * sum(terms[1:], terms[0]), axis=[i, j, k])

    shape = i64s(w.batch, w.out_height, w.out_width, c.out_channels)
    attributes = {**mark("winograd", **asdict(conv)), OPERATIONS: c.operations}
    result = te.compute(shape, element, name="conv2d", attrs=attributes)
    return te.create_prim_func([data, weight, result]).with_attr("op_pattern", 4)


def _chosen(values: Sequence[float] | np.ndarray[Any, Any], index: Any) -> Any:
    """One of the values, by an index."""
    *others, found = (tirx.const(float(value), "float32") for value in values)
    for place, value in enumerate(others):
        found = tirx.Select(index == place, value, found)
    return found
