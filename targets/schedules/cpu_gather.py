"""Rows of a matrix made ready for a product whose lanes are rows (``cpu_planar.py``): transposed, words of four bytes
kept together."""

from __future__ import annotations

import json
from typing import Any

from tvm import te, tirx

from tilewright.targets.base import Device
from tilewright.targets.schedules.cpu_blocks import Blocks
from tilewright.targets.schedules.cpu_tile import Core
from tilewright.targets.schedules.cpu_transpose import exchange
from tilewright.targets.schedules.ir import i64s, loop, ramp, sequence
from tilewright.targets.static import TEMPLATE

_GATHER = "gather_rows"


def staged_rows(rows: int, depth: int, blocks: Blocks) -> tuple[int, int]:
    """The shape of a matrix [rows, depth] once it is staged."""
    pitch = -(-rows // blocks.lanes) * blocks.lanes
    return -(-depth // blocks.bw) * blocks.bw // blocks.word, pitch * blocks.word


def gather_rows(rows: int, depth: int, blocks: Blocks) -> Any:
    """The PrimFunc (matrix [rows, depth], activations of ``staged_rows``): float32, or uint8 if a word has four."""
    word = blocks.word
    dtype = "uint8" if word == 4 else "float32"
    data = te.placeholder(i64s(rows, depth), dtype, "data")

    def element(column: Any, lane: Any) -> Any:
        row, at = tirx.floordiv(lane, word), column * word + tirx.floormod(lane, word)
        return tirx.if_then_else(tirx.all(row < rows, at < depth), data[row, at], tirx.const(0, dtype))

    function = te.create_prim_func([data, te.compute(i64s(*staged_rows(rows, depth, blocks)), element, name=_GATHER)])
    template = json.dumps({"kernel": _GATHER, "word": word})
    return function.without_attr("global_symbol").with_attr("op_pattern", 8).with_attr(TEMPLATE, template)


def gather_rule(func: Any, device: Device) -> Any:
    """Schedules what ``gather_rows`` makes."""
    template = json.loads(str(func.attrs[TEMPLATE])) if func.attrs and TEMPLATE in func.attrs else {}
    if template.get("kernel") != _GATHER:
        return None
    data, result = func.params
    body = _gather(data, result, int(template["word"]), Core.of(device).lanes)
    return None if body is None else tirx.PrimFunc(func.params, body, func.ret_type, attrs=func.attrs)


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
