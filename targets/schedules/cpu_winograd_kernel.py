"""The kernels of cpu_winograd.py: weights brought to points at load, and the convolution."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tvm import tirx

from tilewright.targets.base import Device
from tilewright.targets.schedules.cpu_spatial import fetch_ahead, parallel_if, store_tile
from tilewright.targets.schedules.cpu_tile import Core
from tilewright.targets.schedules.cpu_winograd import WEIGHTS, Winograd
from tilewright.targets.schedules.fused import Fused, take_apart
from tilewright.targets.schedules.ir import (
    PARALLEL,
    SERIAL,
    RegisterTile,
    Statements,
    broadcast,
    i64,
    i64s,
    loop,
    ramp,
    sequence,
)
from tilewright.targets.schedules.window import Window
from tilewright.targets.schedules.winograd import Add, Matrix, from_points, to_points
from tilewright.targets.static import TEMPLATE


def winograd_rule(func: Any, device: Device) -> Any:
    """Schedules a fused ``winograd``, and ``winograd_weights``."""
    core = Core.of(device)
    template = json.loads(str(func.attrs[TEMPLATE])) if func.attrs and TEMPLATE in func.attrs else {}
    if template.get("kernel") == WEIGHTS:
        body = _weights_at_points(_read(template["conv"]), core, *func.params)
        return tirx.PrimFunc(func.params, body, func.ret_type, attrs=func.attrs)
    fused = take_apart(func, "winograd")
    if fused is None or len(fused.operands) != 2:
        return None
    return fused.finish(_Emitter(fused, _read(fused.parameters), core).body())


def _read(parameters: dict[str, Any]) -> Winograd:
    return Winograd(**{**parameters, "window": Window(**parameters["window"])})


def _weights_at_points(conv: Winograd, core: Core, packed: Any, result: Any) -> Any:
    c, t = conv, conv.transforms

    def vector(half: _Half, panel: Any, channel: Any, first: Any) -> Any:
        lanes = ramp(first, core.lanes)

        def load(i: int, j: Any) -> Any:
            return tirx.BufferLoad(packed, [panel, (i * t.taps + j) * c.channels + channel, lanes])

        def store(i: Any, values: Sequence[Any]) -> list[Any]:
            return [
                tirx.BufferStore(result, value, [panel, i * t.size + j, channel, lanes])
                for j, value in enumerate(values)
            ]

        return sequence([half.columns(load), half.rows(store)])

    def panel(number: Any) -> Any:
        half = _Half.make(to_points, t.weights, core.lanes)

        def channel(k: Any) -> Any:
            return loop(c.panel // core.lanes, lambda v: vector(half, number, k, v * core.lanes), name="vector")

        return sequence([tirx.AllocBuffer(half.buffer), loop(c.channels, channel, name="k")])

    return loop(c.panels, panel, PARALLEL if c.panels > 1 else SERIAL, "panel")


@dataclass(frozen=True)
class _Half:
    """A tile on its way: vectors [row, column], transformed in one direction. Loops over lines keep the code small."""

    step: Callable[[Matrix, Sequence[Any], Add[Any]], list[Any]]
    matrix: Matrix
    lanes: int
    buffer: Any

    @classmethod
    def make(cls, step: Callable[[Matrix, Sequence[Any], Add[Any]], list[Any]], matrix: Matrix, lanes: int) -> _Half:
        buffer = tirx.decl_buffer(i64s(matrix.size * lanes), "float32", name="half", scope="global")
        return cls(step, matrix, lanes, buffer)

    def columns(self, load: Callable[[int, Any], Any]) -> Any:
        """Transforms each column; ``load(row, column)`` is a vector."""
        width = self.matrix.shape[1]

        def column(j: Any) -> Any:
            def store(_: Any, values: Sequence[Any]) -> list[Any]:
                return [tirx.BufferStore(self.buffer, value, [self._at(i, j)]) for i, value in enumerate(values)]

            return self._line(j, [load(i, j) for i in range(width)], store)

        return loop(width, column, name="column")

    def rows(self, store: Callable[[Any, Sequence[Any]], list[Any]]) -> Any:
        """Transforms each row; ``store(row, vectors)`` makes statements of the finished row."""
        height, width = self.matrix.shape

        def row(i: Any) -> Any:
            return self._line(i, [tirx.BufferLoad(self.buffer, [self._at(i, j)]) for j in range(width)], store)

        return loop(height, row, name="row")

    def _at(self, row: Any, column: Any) -> Any:
        return ramp((row * self.matrix.shape[1] + column) * self.lanes, self.lanes)

    def _line(self, number: Any, loads: Sequence[Any], store: Callable[[Any, Sequence[Any]], list[Any]]) -> Any:
        made = Statements()
        values = [made.bind("d", load) for load in loads]
        found = self.step(self.matrix, values, _adding(made, self.lanes))
        return sequence([*made.made, *store(number, found)])


def _adding(made: Statements, lanes: int) -> Callable[[Any, float, Any], Any]:
    """How vectors are summed: each sum is a variable."""

    def add(total: Any, coefficient: float, value: Any) -> Any:
        if abs(coefficient) != 1:
            value = value * broadcast(tirx.const(coefficient, "float32"), lanes)
        if total is None:
            return made.bind("p", value if coefficient != -1 else broadcast(tirx.const(0, "float32"), lanes) - value)
        return made.bind("p", total - value if coefficient == -1 else total + value)

    return add


@dataclass(frozen=True)
class _Emitter:
    fused: Fused
    conv: Winograd
    core: Core

    @property
    def _stride(self) -> int:
        """Elements from one point to the next: no power of two, which would meet few sets of a cache."""
        return self.conv.block * self.conv.channels + self.core.lanes

    @property
    def _result_stride(self) -> int:
        return self.conv.block * self.conv.panel + self.core.lanes

    def body(self) -> Any:
        c = self.conv
        kind = parallel_if(c.operations // 2, self.core)
        full, rest = divmod(c.tiles, c.block)
        if full == 1 and not rest:
            return self._block(i64(0), c.block, kind)
        parts = [loop(full, lambda b: self._block(b * c.block, c.block, SERIAL), kind, "block")]
        return sequence([*parts, self._block(i64(full * c.block), rest, kind)] if rest else parts)

    def _block(self, first: Any, count: int, kind: Any) -> Any:
        """Tiles ``first .. first + count``; loops over tiles and panels are of a kind."""
        c = self.conv
        points = tirx.decl_buffer(i64s(c.points * self._stride), "float32", name="points", scope="global")
        full, rest = divmod(c.out_channels, c.panel)
        parts = [tirx.AllocBuffer(points), loop(count, lambda t: self._to_points(points, first + t, t), kind, "tile")]
        if full:
            parts.append(loop(full, lambda p: self._panel(points, first, count, p, c.panel), kind, "panel"))
        if rest:
            parts.append(self._panel(points, first, count, i64(full), rest))
        return sequence(parts)

    def _corner(self, made: Statements, tile: Any) -> tuple[Any, Any, Any]:
        """Variables: image, first output row and column of a tile."""
        c = self.conv
        down, across = c.grid
        image = made.bind("n", tirx.floordiv(tile, down * across))
        y = made.bind("y", tirx.floordiv(tirx.floormod(tile, down * across), across) * c.outputs)
        return image, y, made.bind("x", tirx.floormod(tile, across) * c.outputs)

    # -- to points

    def _to_points(self, points: Any, tile: Any, place: Any) -> Any:
        c, w, t = self.conv, self.conv.window, self.conv.transforms
        made = Statements()
        image, y, x = self._corner(made, tile)
        top, left = made.bind("top", y - w.pad_top), made.bind("left", x - w.pad_left)
        inner = tirx.all(top >= 0, top + t.size <= w.height, left >= 0, left + t.size <= w.width)
        is_inner = made.bind("inner", inner)

        def vector(half: _Half, channel: Any) -> Any:
            def load(i: int, j: Any) -> Any:
                return tirx.BufferLoad(self.fused.operands[0], [image, top + i, left + j, ramp(channel, half.lanes)])

            def load_inside(i: int, j: Any) -> Any:
                inside = tirx.all(top + i >= 0, top + i < w.height, left + j >= 0, left + j < w.width)
                return tirx.if_then_else(inside, load(i, j), broadcast(tirx.const(0, "float32"), half.lanes))

            def store(i: Any, values: Sequence[Any]) -> list[Any]:
                first = i * t.size * self._stride + place * c.channels + channel
                return [
                    tirx.BufferStore(points, value, [ramp(first + j * self._stride, half.lanes)])
                    for j, value in enumerate(values)
                ]

            columns = tirx.IfThenElse(is_inner, half.columns(load), half.columns(load_inside))
            return sequence([columns, half.rows(store)])

        full, rest = divmod(c.channels, self.core.lanes)
        for count, lanes, start in ((full, self.core.lanes, 0), (min(rest, 1), rest, full * self.core.lanes)):
            if count:
                half = _Half.make(to_points, t.data, lanes)
                vectors = loop(count, lambda v, h=half, s=start: vector(h, v * h.lanes + s), name="channel")  # type: ignore[misc]
                made.made += [tirx.AllocBuffer(half.buffer), vectors]
        return sequence(made.made)

    # -- products

    def _panel(self, points: Any, first: Any, count: int, panel: Any, channels: int) -> Any:
        """Some tiles by a panel of output channels."""
        c, lanes = self.conv, self.core.lanes
        vectors = -(-channels // lanes)
        products = tirx.decl_buffer(i64s(c.points * self._result_stride), "float32", name="products", scope="global")
        half = _Half.make(from_points, c.transforms.result, lanes)
        full, rest = divmod(count, c.rows)

        def point(number: Any) -> Any:
            def rows(start: Any, size: int) -> Any:
                return self._multiply(points, products, number, panel, start, size, vectors)

            parts = [loop(full, lambda t: rows(t * c.rows, c.rows), name="rows")] if full else []
            return sequence([*parts, rows(i64(full * c.rows), rest)] if rest else parts)

        def results(place: Any) -> Any:
            made = Statements()
            corner = self._corner(made, first + place)

            def one(at: Any, width: int) -> Any:
                return self._from_points(half, products, place, corner, panel * c.panel + at, at, width)

            full, rest = divmod(channels, lanes)
            parts = [loop(full, lambda v: one(v * lanes, lanes), name="vector")] if full else []
            return sequence([*made.made, *parts, *([one(i64(full * lanes), rest)] if rest else [])])

        return sequence(
            [
                tirx.AllocBuffer(products),
                tirx.AllocBuffer(half.buffer),
                loop(c.points, point, name="point"),
                loop(count, results, name="tile"),
            ]
        )

    def _multiply(self, points: Any, products: Any, point: Any, panel: Any, start: Any, size: int, vectors: int) -> Any:
        """The products of ``size`` tiles at a point."""
        c, lanes = self.conv, self.core.lanes
        weight = self.fused.operands[1]
        tile = RegisterTile.make(size, vectors, lanes)

        def step(k: Any) -> Any:
            scalars = [
                tirx.BufferLoad(points, [point * self._stride + (start + row) * c.channels + k]) for row in range(size)
            ]
            weights = [tirx.BufferLoad(weight, [panel, point, k, ramp(i64(v * lanes), lanes)]) for v in range(vectors)]
            ahead = (
                fetch_ahead(weight, [panel, point, k, i64(0)], vectors * lanes) if self.conv.streams(self.core) else []
            )
            return sequence([*ahead, tile.multiply_add(scalars, weights)])

        stores = [
            tirx.BufferStore(
                products,
                tile.load(row, v),
                [ramp(point * self._result_stride + (start + row) * c.panel + v * lanes, lanes)],
            )
            for row in range(size)
            for v in range(vectors)
        ]
        return sequence([*tile.fill(0.0), loop(c.channels, step, name="k"), *stores])

    # -- from points

    def _from_points(
        self, half: _Half, products: Any, place: Any, corner: Sequence[Any], channel: Any, at: Any, width: int
    ) -> Any:
        """A tile of ``width`` channels, which lie at ``at`` in their panel."""
        c, w, lanes = self.conv, self.conv.window, self.core.lanes
        image, y, x = corner

        def load(i: int, j: Any) -> Any:
            first = (i * c.transforms.size + j) * self._result_stride + place * c.panel + at
            return tirx.BufferLoad(products, [ramp(first, lanes)])

        def store(i: Any, values: Sequence[Any]) -> list[Any]:
            out = RegisterTile.make(c.outputs, 1, lanes, "out")
            kept = [out.combine(row, 0, lambda _, value=value: value) for row, value in enumerate(values)]  # type: ignore[misc]

            def inside(row: Any) -> Any:
                return tirx.all(y + i < w.out_height, x + row < w.out_width)

            cut = w.out_height % c.outputs or w.out_width % c.outputs
            finish = store_tile(
                self.fused, out, channel, width, lambda row: [image, y + i, x + row], inside if cut else None
            )
            return [tirx.AllocBuffer(out.buffer), *kept, *finish]

        return sequence([half.columns(load), half.rows(store)])
