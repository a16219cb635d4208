"""Block-sparse products for many rows at once: lanes are rows, and weights are what is broadcast.

With a tile of rows a block's columns are as many cache lines as there are rows, and activations of a large batch leave
the first-level cache. Transposed, a column is one line. Each vector of activations meets all outputs of a block; at
the end the sums of a block row, outputs by rows, are transposed back in registers.

Activations are float32 [depth][rows], or bytes [depth / 4][rows][4]; rows are padded to whole vectors.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tvm import te, tirx

from tilewright.targets.base import Device
from tilewright.targets.schedules.cpu_blocks import Blocks
from tilewright.targets.schedules.cpu_dot import Dot, splat
from tilewright.targets.schedules.cpu_fused import Fused, mark, take_apart
from tilewright.targets.schedules.cpu_ir import RegisterTile, broadcast, i64, i64s, loop, ramp, sequence, unflatten
from tilewright.targets.schedules.cpu_spatial import panel_nest, store_tile
from tilewright.targets.schedules.cpu_tile import Core
from tilewright.targets.schedules.cpu_transpose import exchange
from tilewright.targets.static import TEMPLATE

_GATHER = "gather_rows"


@dataclass(frozen=True)
class Planar:
    """One product.

    Attributes:
        batch: shape of the output without its last axis; its product is the number of rows.
        pitch: rows of the staged activations.
        depth: columns of the staged activations: whole blocks.
        offset: subtracted from bytes (see ``Dot``).
    """

    blocks: Blocks
    batch: tuple[int, ...]
    pitch: int
    depth: int
    offset: int = 0

    @property
    def rows(self) -> int:
        return math.prod(self.batch)

    @property
    def integer(self) -> bool:
        """Whether activations are bytes."""
        return self.blocks.word == 4

    @property
    def data_shape(self) -> tuple[int, int]:
        return self.depth // self.blocks.word, self.pitch * self.blocks.word

    @property
    def data_dtype(self) -> str:
        return "uint8" if self.integer else "float32"

    @property
    def out_shape(self) -> tuple[int, ...]:
        return (*self.batch, self.blocks.outputs)

    @property
    def out_dtype(self) -> str:
        return "int32" if self.integer else "float32"


def suits(blocks: Blocks, rows: int) -> bool:
    """Whether lanes are better filled with rows: there are enough, and a block row's sums fit into registers."""
    return blocks.sparse and not blocks.group and 2 * rows > blocks.lanes and blocks.bh <= blocks.lanes


def planar(layer: Planar) -> Any:
    """The PrimFunc (activations of ``data_shape``, index, values, output) of a product."""
    b = layer.blocks
    data = te.placeholder(i64s(*layer.data_shape), layer.data_dtype, "data")
    index = te.placeholder(i64s(b.block_rows, b.k), "uint16", "index")
    values = te.placeholder(i64s(*b.values_shape), b.values_dtype, "values")
    block = te.reduce_axis((i64(0), i64(b.used)), "block")
    inner = te.reduce_axis((i64(0), i64(b.bw)), "inner")

    def element(*at: Any) -> Any:
        *position, output = at
        row: Any = i64(0)
        for size, place in zip(layer.batch, position, strict=True):
            row = row * size + place
        block_row, inside = tirx.floordiv(output, b.bh), tirx.floormod(output, b.bh)
        column = index[block_row, block].astype("int64") * b.bw + inner
        x = data[tirx.floordiv(column, b.word), row * b.word + tirx.floormod(column, b.word)]
        weight = b.decode_one(lambda *i: values(*i), block_row, block, b.position(inside, inner))
        product = (x.astype("int32") - layer.offset) * weight if layer.integer else x * weight.astype("float32")
        return te.sum(product, axis=[block, inner])

    result = te.compute(i64s(*layer.out_shape), element, name="planar", attrs=mark("planar", **asdict(layer)))
    return te.create_prim_func([data, index, values, result]).with_attr("op_pattern", 4)


def gather_rows(rows: int, depth: int, layer: Planar) -> Any:
    """The PrimFunc (matrix [rows, depth], activations of ``data_shape``) that stages a layer's activations."""
    word, dtype = layer.blocks.word, layer.data_dtype
    data = te.placeholder(i64s(rows, depth), dtype, "data")

    def element(column: Any, lane: Any) -> Any:
        row, at = tirx.floordiv(lane, word), column * word + tirx.floormod(lane, word)
        return tirx.if_then_else(tirx.all(row < rows, at < depth), data[row, at], tirx.const(0, dtype))

    function = te.create_prim_func([data, te.compute(i64s(*layer.data_shape), element, name=_GATHER)])
    template = json.dumps({"kernel": _GATHER, "word": word})
    return function.without_attr("global_symbol").with_attr("op_pattern", 8).with_attr(TEMPLATE, template)


def planar_rule(func: Any, device: Device) -> Any:
    """Schedules what ``planar`` and ``gather_rows`` make."""
    if func.attrs and TEMPLATE in func.attrs:
        template = json.loads(str(func.attrs[TEMPLATE]))
        if template["kernel"] != _GATHER:
            return None
        data, result = func.params
        body = _gather(data, result, int(template["word"]), Core.of(device).lanes)
        return None if body is None else tirx.PrimFunc(func.params, body, func.ret_type, attrs=func.attrs)
    fused = take_apart(func, "planar")
    if fused is None:
        return None
    p = fused.parameters
    layer = Planar(Blocks(**p["blocks"]), tuple(p["batch"]), p["pitch"], p["depth"], p["offset"])
    return fused.finish(_Emitter(fused, layer, Core.of(device), Dot.of(device)).body())


def _gather(data: Any, result: Any, word: int, lanes: int) -> Any:
    """Squares of words transposed in registers; None where they do not fill the matrix."""
    rows, depth = (int(size) for size in data.shape)
    columns, pitch = (int(size) for size in result.shape)
    if depth % (word * lanes) or columns * word != depth or pitch != rows * word or rows % lanes:
        return None
    dtype = "int32" if word == 4 else str(data.dtype)
    count = lanes * word

    def square(row: Any, column: Any) -> Any:
        statements: list[Any] = []

        def bind(value: Any) -> Any:
            var = tirx.Var("v", f"{dtype}x{lanes}")
            statements.append(tirx.Bind(var, value))
            return var

        loaded = [tirx.BufferLoad(data, [row + r, ramp(column * word, count)]) for r in range(lanes)]
        words = [tirx.reinterpret(f"{dtype}x{lanes}", value) if word == 4 else value for value in loaded]
        for lane, vector in enumerate(exchange([bind(value) for value in words], bind)):
            value = tirx.reinterpret(f"uint8x{count}", vector) if word == 4 else vector
            statements.append(tirx.BufferStore(result, value, [column + lane, ramp(row * word, count)]))
        return sequence(statements)

    return loop(
        columns // lanes,
        lambda c: loop(rows // lanes, lambda r: square(r * lanes, c * lanes), name="row"),
        name="column",
    )


@dataclass(frozen=True)
class _Emitter:
    fused: Fused
    layer: Planar
    core: Core
    dot: Dot

    def body(self) -> Any:
        layer, b = self.layer, self.layer.blocks
        tiles = layer.pitch // b.lanes
        nbytes = math.prod(b.values_shape) * (1 if b.planes else b.bits // 8)
        work = layer.rows * b.block_rows * b.used * b.elements // b.word
        full = layer.rows // b.lanes
        parts: list[Any] = []
        if full:
            parts += panel_nest(
                full, b.outputs, b.bh, nbytes, work, self.core, lambda t, r, n: self._tile(t, b.lanes, r, n)
            )
        if tiles > full:
            rest = layer.rows - full * b.lanes
            parts += panel_nest(
                1, b.outputs, b.bh, nbytes, work, self.core, lambda _, r, n: self._tile(i64(full), rest, r, n)
            )
        return sequence(parts)

    def _tile(self, tile: Any, rows: int, block_row: Any, outputs: int) -> Any:
        """One vector of rows by one block row."""
        layer, b = self.layer, self.layer.blocks
        acc = RegisterTile.make(b.bh, 1, b.lanes, "acc", layer.out_dtype)
        span = b.unit * max(1, 4 // b.unit)
        full, rest = divmod(b.used, span)
        statements: list[Any] = acc.fill(0)
        if full:
            statements.append(loop(full, lambda t: self._span(acc, tile, block_row, t * span, span), name="blocks"))
        if rest:
            statements.append(self._span(acc, tile, block_row, i64(full * span), rest))

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
            return unflatten(tile * b.lanes + row, layer.batch)

        return sequence([*statements, *store_tile(self.fused, out, block_row * b.bh, outputs, position)])

    def _span(self, acc: RegisterTile, tile: Any, block_row: Any, first: Any, count: int) -> Any:
        return sequence(
            [statement for offset in range(count) for statement in self._block(acc, tile, block_row, first, offset)]
        )

    def _block(self, acc: RegisterTile, tile: Any, block_row: Any, first: Any, offset: int) -> list[Any]:
        layer, b = self.layer, self.layer.blocks
        data, index, values = self.fused.operands
        start = tirx.Var("start", "int64")
        column = tirx.BufferLoad(index, [block_row, first + offset]).astype("int64") * (b.bw // b.word)
        statements: list[Any] = [tirx.Bind(start, column)]
        unit, inside = tirx.floordiv(first, b.unit) + offset // b.unit, offset % b.unit
        for step in range(b.steps):
            weights = self._weights(statements, values, block_row, unit, inside, step)
            for c in range(b.width):
                x = tirx.Var("x", f"{'int32' if layer.integer else 'float32'}x{b.lanes}")
                at = [start + (step * b.width + c), ramp(tile * (b.lanes * b.word), b.lanes * b.word)]
                loaded = tirx.BufferLoad(data, at)
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

    def _weights(self, statements: list[Any], values: Any, block_row: Any, unit: Any, inside: int, step: int) -> Any:
        """What gives a word of one of a block's vectors: from memory, or from where the decoded vector was put."""
        layer, b = self.layer, self.layer.blocks
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


def staged_shape(batch: Sequence[int], depth: int, blocks: Blocks) -> tuple[int, int]:
    """Rows and columns that staged activations are padded to."""
    rows = math.prod(batch)
    return -(-rows // blocks.lanes) * blocks.lanes, -(-depth // blocks.bw) * blocks.bw
