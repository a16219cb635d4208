"""The kernel of ``cpu_planar.py``: loops over vectors of rows or pixels, and one such vector by one block row."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import tvm
import tvm_ffi
from tvm import tirx

from tilewright.targets.base import Device
from tilewright.targets.schedules.cpu_blocks import Blocks
from tilewright.targets.schedules.cpu_dot import Dot, intrinsic, splat
from tilewright.targets.schedules.cpu_planar import Planar
from tilewright.targets.schedules.cpu_spatial import panel_nest, parallel_if, store_tile
from tilewright.targets.schedules.cpu_tile import Core
from tilewright.targets.schedules.cpu_transpose import exchange, neighbours
from tilewright.targets.schedules.fused import Fused, take_apart
from tilewright.targets.schedules.ir import SERIAL, RegisterTile, broadcast, i64, i64s, loop, ramp, sequence, unflatten
from tilewright.targets.schedules.window import Window


def planar_rule(func: Any, device: Device) -> Any:
    """Schedules what ``planar`` makes."""
    fused = take_apart(func, "planar")
    if fused is None:
        return None
    p = fused.parameters
    window = Window(**p["window"]) if p["window"] else None
    layer = Planar(Blocks(**p["blocks"]), tuple(p["data_shape"]), tuple(p["batch"]), window, p["offset"])
    if window is not None and layer.is_flat and not _whole_images(fused):
        return None
    edges = table = None
    if layer.is_bare:
        edges, index, data, table, values = fused.operands
    elif window is not None:
        data, table, index, values = fused.operands
    else:
        data, index, values = fused.operands
    emitter = _Emitter(fused, layer, Core.of(device), Dot.of(device), data, index, table, edges, values)
    return fused.finish(emitter.body())


def _whole_images(fused: Fused) -> bool:
    """Whether the epilogue reads images as the output lies, so that pixels can be counted through their rows."""
    extents = [int(size) for size in fused.result.shape]
    good = True

    def visit(node: Any) -> None:
        nonlocal good
        if isinstance(node, tvm.ir.TensorLoad) and not node.source.same_as(fused.anchor):
            good = good and neighbours(node.source.shape, node.indices, fused.axes[2:], extents[3])

    tvm_ffi.structural_walk(fused.value, visit, order="pre")
    return good


def _plane_nest(tiles: int, outputs: int, height: int, kind: Any, body: Callable[[Any, Any, int], Any]) -> list[Any]:
    """All tiles by one block row, then by the next: the planes of a block row, read and written, are few enough pages
    for the translation buffer; all planes are not.

    One loop counts both. Before a loop of tiles LLVM would broadcast all weights of its block row, onto the stack where
    they are too many for registers. These are more bytes to read, two pages in many layers, and stores hinder loads
    whose addresses end in the same 12 bits: where operands lay decided whether a kernel took two thirds longer.

    Args:
        body: of (tile, block row, outputs in the block row).
    """
    full, rest = divmod(outputs, height)
    parts = []
    if full:
        parts.append(
            loop(
                full * tiles, lambda at: body(tirx.floormod(at, tiles), tirx.floordiv(at, tiles), height), kind, "tile"
            )
        )
    if rest:
        parts.append(loop(tiles, lambda tile: body(tile, i64(full), rest), SERIAL if full else kind, "tile"))
    return parts


@dataclass(frozen=True)
class _Emitter:
    fused: Fused
    layer: Planar
    core: Core
    dot: Dot
    data: Any
    index: Any
    table: Any
    edges: Any
    values: Any

    def body(self) -> Any:
        layer, w = self.layer, self.layer.window
        if layer.is_flat:
            return sequence(self._row(1, layer.rows, lambda _, x: x, lambda _, x: (i64(0), x)))
        assert w is not None
        return sequence(self._row(w.out_height, w.out_width, lambda y, x: y * w.width + x, lambda y, x: (y, x)))

    def _row(
        self, rows: int, length: int, pixel: Callable[[Any, Any], Any], place: Callable[[Any, Any], tuple[Any, Any]]
    ) -> list[Any]:
        """Vectors along ``length`` for each row; the last overlaps the one before, or is short if it is the only one.
        Where half a vector or less is left of rows, one vector holds what is left of several.

        Args:
            pixel: of the staged activations that a place in the row meets.
            place: in the output.
        """
        b = self.layer.blocks
        nbytes = math.prod(b.values_shape) * (1 if b.planes else b.bits // 8)
        work = self.layer.rows * b.block_rows * b.used * b.elements // b.word
        full, rest = divmod(length, b.lanes)

        def tile(t: Any, block_row: Any, outputs: int) -> Any:
            y, x = tirx.floordiv(t, full), tirx.floormod(t, full) * b.lanes
            return self._tile(pixel(y, x), place(y, x), b.lanes, block_row, outputs)

        stacked = b.lanes
        while rest and 2 * rest <= stacked and rows * stacked >= 2 * b.lanes:
            stacked //= 2  # pixels of a row in its vector

        def last(t: Any, block_row: Any, outputs: int) -> Any:
            step, x = b.lanes // stacked, i64(max(0, length - stacked))
            y = t if step == 1 else tirx.min(t * step, i64(rows - step))
            return self._tile(pixel(y, x), place(y, x), min(length, stacked), block_row, outputs, step)

        def nest(count: int, body: Callable[[Any, Any, int], Any]) -> list[Any]:
            if self.layer.window is None:
                return panel_nest(count, b.outputs, b.bh, nbytes, work, self.core, body)
            return _plane_nest(count, b.outputs, b.bh, parallel_if(work, self.core), body)

        return (nest(rows * full, tile) if full else []) + (nest(-(-rows * stacked // b.lanes), last) if rest else [])

    def _tile(
        self, pixel: Any, place: tuple[Any, Any], rows: int, block_row: Any, outputs: int, stacked: int = 1
    ) -> Any:
        """One vector of rows by one block row; of an image it may be ``stacked`` pieces below each other."""
        layer, b = self.layer, self.layer.blocks
        acc = RegisterTile.make(b.bh, 1, b.lanes, "acc", layer.out_dtype)
        span = b.unit * max(1, 4 // b.unit)
        full, rest = divmod(b.used, span)
        statements: list[Any] = acc.fill(0)
        if full:
            statements.append(
                loop(full, lambda t: self._span(acc, pixel, stacked, block_row, t * span, span), name="blocks")
            )
        if rest:
            statements.append(self._span(acc, pixel, stacked, block_row, i64(full * span), rest))
        y, x = place
        if layer.window is not None:
            for piece in range(stacked):

                def plane(row: Any, piece: int = piece) -> list[Any]:
                    return [i64(0), block_row * b.bh + row, y + piece]

                part = self._piece(statements, replace(acc, rows=outputs), piece, stacked)
                statements += store_tile(self.fused, part, x, rows, plane)
            return sequence(statements)

        def bind(value: Any) -> Any:
            var = tirx.Var("v", f"{layer.out_dtype}x{b.lanes}")
            statements.append(tirx.Bind(var, value))
            return var

        zero = splat(layer.out_dtype, 0, b.lanes)
        sums = [acc.load(row, 0) if row < b.bh else zero for row in range(b.lanes)]
        across = exchange([bind(value) for value in sums], bind)
        out = RegisterTile.make(rows, 1, b.bh, "out", layer.out_dtype)
        statements.append(tirx.AllocBuffer(out.buffer))
        for row in range(rows):
            value = across[row] if b.bh == b.lanes else _first(across[row], b.bh)
            statements.append(out.combine(row, 0, lambda _, value=value: value))  # type: ignore[misc]

        def position(row: Any) -> list[Any]:
            return unflatten(x + row, layer.batch)

        return sequence([*statements, *store_tile(self.fused, out, block_row * b.bh, outputs, position)])

    @staticmethod
    def _piece(statements: list[Any], acc: RegisterTile, piece: int, stacked: int) -> RegisterTile:
        """One of the pieces that lie side by side in each vector."""
        if stacked == 1:
            return acc
        lanes = acc.lanes // stacked
        part = RegisterTile.make(acc.rows, 1, lanes, "part", str(acc.buffer.dtype))
        statements.append(tirx.AllocBuffer(part.buffer))
        for row in range(acc.rows):
            value = tirx.Shuffle([acc.load(row, 0)], list(range(piece * lanes, (piece + 1) * lanes)))
            statements.append(part.combine(row, 0, lambda _, value=value: value))  # type: ignore[misc]
        return part

    def _span(self, acc: RegisterTile, pixel: Any, stacked: int, block_row: Any, first: Any, count: int) -> Any:
        blocks = (self._block(acc, pixel, stacked, block_row, first, offset) for offset in range(count))
        return sequence([statement for block in blocks for statement in block])

    def _block(self, acc: RegisterTile, pixel: Any, stacked: int, block_row: Any, first: Any, offset: int) -> list[Any]:
        layer, b = self.layer, self.layer.blocks
        start = tirx.Var("start", "int64")
        column = tirx.BufferLoad(self.index, [block_row, first + offset]).astype("int64")
        met = self._met(pixel, column) if layer.is_bare else None
        if self.table is None:
            column = column * (b.bw // b.word * layer.plane)
        else:
            column = tirx.BufferLoad(self.table, [column]).astype("int64")
        statements: list[Any] = [tirx.Bind(start, column + pixel * b.word)]
        unit, inside = tirx.floordiv(first, b.unit) + offset // b.unit, offset % b.unit
        leading = [i64(0)] * (len(layer.data_shape) - 1)
        for step in range(b.steps):
            weights = self._weights(statements, block_row, unit, inside, step)
            for c in range(b.width):
                x = tirx.Var("x", f"{'int32' if layer.integer else 'float32'}x{b.lanes}")
                at = start + (step * b.width + c) * layer.plane
                loaded = self._activations([*leading, at], stacked) if met is None else self._masked(leading, at, met)
                statements.append(
                    tirx.Bind(x, tirx.reinterpret(f"int32x{b.lanes}", loaded) if layer.integer else loaded)
                )
                for row in range(b.bh):
                    weight = broadcast(weights(row * b.width + c), b.lanes)

                    def add(old: Any, x: Any = x, weight: Any = weight) -> Any:
                        if layer.integer:
                            wide = tirx.reinterpret(f"int8x{4 * b.lanes}", weight)
                            return self.dot.accumulate(old, x, wide, b.lanes)
                        return old + x * weight

                    statements.append(acc.combine(row, 0, add))
        return statements

    def _activations(self, at: list[Any], stacked: int) -> Any:
        """A vector of activations; its pieces are rows of an image."""
        *leading, first = at
        count = self.layer.blocks.lanes * self.layer.blocks.word // stacked
        pitch = 0 if self.layer.window is None else self.layer.window.width * self.layer.blocks.word
        pieces = [tirx.BufferLoad(self.data, [*leading, ramp(first + i * pitch, count)]) for i in range(stacked)]
        return pieces[0] if stacked == 1 else tirx.Shuffle(pieces, list(range(stacked * count)))

    def _met(self, pixel: Any, column: Any) -> Any:
        """Which lanes of a vector of pixels meet the image at a block column's tap."""
        b = self.layer.blocks
        vector = tirx.truncdiv(pixel + (b.lanes - 1), i64(b.lanes))
        tap = tirx.truncdiv(column, i64(self.layer.data_shape[1] // b.bw))
        first = tirx.BufferLoad(self.edges, [vector]).astype("int64")
        bits = broadcast(tirx.BufferLoad(self.edges, [first + tap]), b.lanes)
        places = tirx.Ramp(tirx.const(0, "int32"), tirx.const(1, "int32"), b.lanes)
        return (bits & (splat("int32", 1, b.lanes) << places)) != splat("int32", 0, b.lanes)

    def _masked(self, leading: list[Any], at: Any, met: Any) -> Any:
        """A vector of activations, zero in lanes beyond an edge: they are not read, or the image's ends would be
        passed."""
        lanes = self.layer.blocks.lanes
        address = tirx.address_of(tirx.BufferLoad(self.data, [*leading, at]))
        return intrinsic(f"float32x{lanes}", "llvm.masked.load", address, met, splat("float32", 0, lanes))

    def _weights(self, statements: list[Any], block_row: Any, unit: Any, inside: int, step: int) -> Any:
        """What gives a word of one of a block's vectors: from memory, or from where the decoded vector was put."""
        layer, b, values = self.layer, self.layer.blocks, self.values
        first = step * b.vector_lanes * b.word
        if b.bits == 32:
            return lambda at: tirx.BufferLoad(values, [block_row, unit, i64(first + at)])
        if layer.integer and b.bits == 8:

            def word(at: int) -> Any:
                bytes_ = tirx.BufferLoad(values, [block_row, unit, ramp(i64(inside * b.elements + first + 4 * at), 4)])
                return tirx.reinterpret("int32", bytes_)

            return word
        dtype = "int32" if layer.integer else "float32"
        local = tirx.decl_buffer(i64s(b.vector_lanes), dtype, name="decoded", scope="local")
        decoded = b.decode(values, block_row, unit, inside, step, 0)
        if layer.integer:
            decoded = tirx.reinterpret(f"int32x{b.vector_lanes}", decoded)
        elif b.planes:
            decoded = decoded.astype(f"int32x{b.vector_lanes}").astype(f"float32x{b.vector_lanes}")
        statements += [tirx.AllocBuffer(local), tirx.BufferStore(local, decoded, [ramp(i64(0), b.vector_lanes)])]
        return lambda at: tirx.BufferLoad(local, [i64(at)])


def _first(vector: Any, lanes: int) -> Any:
    return tirx.Shuffle([vector], list(range(lanes)))
