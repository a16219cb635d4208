"""Sliding windows channel by channel, NHWC: depthwise convolution, maximum and average pooling.

Vectors run over channels; a few neighbouring output pixels are computed together so that the accumulators hide the
latency of the arithmetic and share what they load. Padding is left out of the loops' bounds, as in cpu_conv.py.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from tvm import te, tirx

from tilewright.targets.base import Device
from tilewright.targets.schedules.cpu_dot import splat
from tilewright.targets.schedules.cpu_spatial import parallel_if, store_tile
from tilewright.targets.schedules.cpu_tile import Core
from tilewright.targets.schedules.fused import Fused, mark, take_apart
from tilewright.targets.schedules.ir import SERIAL, RegisterTile, i64, i64s, loop, ramp, sequence
from tilewright.targets.schedules.window import Window

_DTYPE = "float32"
_LEAST = {"float32": -np.inf, "uint8": 0}


def pack_depthwise(weights: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
    """O1HW weights as [kernel row][kernel column][channel]."""
    return np.ascontiguousarray(weights[:, 0].transpose(1, 2, 0))


def packing(window: Window, channels: int) -> Any:
    """The PrimFunc (O1HW weights, packed weights) that does what `pack_depthwise` does, for weights known at load."""
    height, width = window.kernel_height, window.kernel_width
    weight = te.placeholder(i64s(channels, 1, height, width), _DTYPE, "weight")
    packed = te.compute(i64s(height, width, channels), lambda i, j, c: weight[c, i64(0), i, j], name="pack")
    return te.create_prim_func([weight, packed])


def depthwise(window: Window, channels: int, dtype: str = _DTYPE, zero_point: int = 0) -> Any:
    """The PrimFunc (input NHWC, packed weights, output NHWC) of a depthwise convolution.

    Args:
        dtype: of the input: float32, or uint8, from which the zero point is subtracted; the output is float32.
    """
    data, i, j, shape = _inputs(window, channels, dtype)
    weight = te.placeholder(i64s(window.kernel_height, window.kernel_width, channels), _DTYPE, "weight")

    def element(n: Any, y: Any, x: Any, c: Any) -> Any:
        value = _guarded(window, data, zero_point, n, y, x, c, i, j)
        if dtype != _DTYPE:
            value = (value.astype("int32") - zero_point).astype(_DTYPE)
        return te.sum(value * weight[i, j, c], axis=[i, j])

    attrs = mark("window", kind="depthwise", channels=channels, window=asdict(window), zero_point=zero_point)
    return _fusable([data, weight, te.compute(shape, element, name="depthwise", attrs=attrs)])


def max_pool(window: Window, channels: int, dtype: str = _DTYPE) -> Any:
    """The PrimFunc (input NHWC, output NHWC) of maximum pooling of float32 or uint8."""
    data, i, j, shape = _inputs(window, channels, dtype)

    def element(n: Any, y: Any, x: Any, c: Any) -> Any:
        return te.max(_guarded(window, data, _LEAST[dtype], n, y, x, c, i, j), axis=[i, j])

    attrs = mark("window", kind="max", channels=channels, window=asdict(window))
    return _fusable([data, te.compute(shape, element, name="max_pool", attrs=attrs)])


def average_pool(window: Window, channels: int, include_padding: bool) -> Any:
    """The PrimFunc (input NHWC, output NHWC) of average pooling; padding counts as zeros or not at all."""
    data, i, j, shape = _inputs(window, channels)

    def element(n: Any, y: Any, x: Any, c: Any) -> Any:
        return te.sum(_guarded(window, data, 0.0, n, y, x, c, i, j), axis=[i, j])

    attrs = mark("window", kind="sum", channels=channels, window=asdict(window))
    total = te.compute(shape, element, name="pool_sum", attrs=attrs)

    def mean(n: Any, y: Any, x: Any, c: Any) -> Any:
        if include_padding:
            count = tirx.const(window.kernel_height * window.kernel_width, _DTYPE)
        else:
            count = tirx.Cast(_DTYPE, tirx.max(_met(window, y, True) * _met(window, x, False), 1))
        return total[n, y, x, c] / count

    return _fusable([data, te.compute(shape, mean, name="pool_mean")])


def _met(window: Window, position: Any, vertical: bool) -> Any:
    """How many elements of the window are in the image along one axis."""
    w = window
    size, kernel, stride, dilation, pad = (
        (w.height, w.kernel_height, w.stride_h, w.dilation_h, w.pad_top)
        if vertical
        else (w.width, w.kernel_width, w.stride_w, w.dilation_w, w.pad_left)
    )
    first = position * stride - pad
    low = tirx.max(tirx.floordiv(dilation - 1 - first, dilation), 0)
    high = tirx.min(tirx.floordiv(size - 1 - first, dilation) + 1, kernel)
    return high - low


def _inputs(window: Window, channels: int, dtype: str = _DTYPE) -> tuple[Any, Any, Any, tuple[Any, ...]]:
    data = te.placeholder(i64s(window.batch, window.height, window.width, channels), dtype, "data")
    i = te.reduce_axis((i64(0), i64(window.kernel_height)), "i")
    j = te.reduce_axis((i64(0), i64(window.kernel_width)), "j")
    return data, i, j, i64s(window.batch, window.out_height, window.out_width, channels)


def _guarded(window: Window, data: Any, border: float, n: Any, y: Any, x: Any, c: Any, i: Any, j: Any) -> Any:
    value = data[n, window.row(y, i), window.column(x, j), c]
    inside = window.inside(y, x, i, j)
    return value if inside is None else tirx.if_then_else(inside, value, tirx.const(border, str(value.dtype)))


def _fusable(tensors: list[Any]) -> Any:
    return te.create_prim_func(tensors).with_attr("op_pattern", 4)


def window_rule(func: Any, device: Device) -> Any:
    """Schedules a fused depthwise convolution or pooling of this file."""
    fused = take_apart(func, "window")
    if fused is None:
        return None
    parameters = fused.parameters
    emitter = _Emitter(
        fused,
        parameters["kind"],
        Window(**parameters["window"]),
        parameters["channels"],
        Core.of(device),
        parameters.get("zero_point", 0),
    )
    return fused.finish(emitter.body())


@dataclass(frozen=True)
class _Emitter:
    fused: Fused
    kind: str
    window: Window
    channels: int
    core: Core
    zero_point: int = 0

    @property
    def dtype(self) -> str:
        """Of what is read; maxima have it too, sums are float32."""
        return str(self.fused.operands[0].dtype)

    def _tile(self) -> tuple[int, int]:
        """Output pixels and channel vectors computed together."""
        vectors = max(1, min(2 if self.core.registers >= 32 else 1, self.channels // self.core.lanes))
        budget = (self.core.registers - 4) // (2 * vectors)  # as many inputs as accumulators are live
        longest = max(1, min(self.window.out_width, budget))
        # the fewest tiles a row, then the most even ones
        tiles = -(-self.window.out_width // longest)
        return -(-self.window.out_width // tiles), vectors

    def body(self) -> Any:
        w = self.window
        rows, vectors = self._tile()
        work = w.batch * w.out_height * w.out_width * w.kernel_height * w.kernel_width * self.channels
        kind = parallel_if(work, self.core)

        def row(index: Any) -> Any:
            image, y = tirx.floordiv(index, w.out_height), tirx.floormod(index, w.out_height)

            def group(start: int, size: int, count: int) -> Any:
                return loop(
                    count, lambda t: self._columns(image, y, start + t * rows, start, size, vectors), name="column"
                )

            return sequence([group(*columns) for columns in w.column_groups(rows)])

        return loop(w.batch * w.out_height, row, kind if w.batch * w.out_height > 1 else SERIAL, "row")

    def _columns(self, image: Any, y: Any, x: Any, start: int, size: int, vectors: int) -> Any:
        """All channels of output pixels ``x .. x + size``: full tiles, then single vectors, then a narrow one."""
        lanes, parts, done = self.core.lanes, [], 0
        for width, count in ((lanes, vectors), (lanes, 1), (self.channels % lanes, 1)):
            step = width * count
            repeat = (self.channels - done) // step if step else 0
            if repeat:
                first = done

                def chunk(c: Any, width: int = width, count: int = count, step: int = step, first: int = first) -> Any:
                    dtype = self.dtype if self.kind == "max" else _DTYPE
                    tile = RegisterTile.make(size, count, width, dtype=dtype)
                    return self._one(tile, image, y, x, start, c * step + first)

                parts.append(loop(repeat, chunk, name="channel"))
                done += repeat * step
        return sequence(parts)

    def _one(self, tile: RegisterTile, image: Any, y: Any, x: Any, start: int, channel: Any) -> Any:
        w = self.window
        low, high = w.rows_met(y)
        data = self.fused.operands[0]

        def window_row(k: Any) -> Any:
            i = k + low
            statements = []
            for j in range(w.kernel_width):
                weights = [self._weight(i, j, channel, tile, v) for v in range(tile.vectors)]
                for row in range(tile.rows):
                    if not w.meets(start + row)[j]:
                        continue
                    for v in range(tile.vectors):
                        at = [image, w.row(y, i), w.column(x + row, j), ramp(channel + v * tile.lanes, tile.lanes)]
                        value = self._number(tirx.BufferLoad(data, at), tile)
                        statements.append(tile.combine(row, v, lambda a: self._step(a, value, weights[v])))  # noqa: B023
            return sequence(statements) if statements else tirx.Evaluate(0)

        return sequence(
            [
                *tile.fill(_LEAST[self.dtype] if self.kind == "max" else 0.0),
                loop(high - low, window_row, name="i"),
                *store_tile(self.fused, tile, channel, tile.vectors * tile.lanes, lambda row: [image, y, x + row]),
            ]
        )

    def _number(self, loaded: Any, tile: RegisterTile) -> Any:
        """What was read, as the accumulators take it."""
        if str(tile.buffer.dtype) == self.dtype:
            return loaded
        wide = loaded.astype(f"int32x{tile.lanes}" if tile.lanes > 1 else "int32")
        return (wide - splat("int32", self.zero_point, tile.lanes)).astype(tile.vector_type)

    def _weight(self, i: Any, j: int, channel: Any, tile: RegisterTile, vector: int) -> Any:
        if self.kind != "depthwise":
            return None
        at = [i, i64(j), ramp(channel + vector * tile.lanes, tile.lanes)]
        return tirx.BufferLoad(self.fused.operands[1], at)

    def _step(self, accumulator: Any, value: Any, weight: Any) -> Any:
        if self.kind == "depthwise":
            return accumulator + value * weight
        return tirx.max(accumulator, value) if self.kind == "max" else accumulator + value
