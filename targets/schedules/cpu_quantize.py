"""Kernels that make bytes of float activations: by a tensor's own range, and of an image's channels, four at a time."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from tvm import te, tirx

from tilewright.targets.base import Device
from tilewright.targets.schedules.cpu_dot import splat
from tilewright.targets.schedules.cpu_fallback import PARALLEL_WORK
from tilewright.targets.schedules.cpu_ir import (
    PARALLEL,
    SERIAL,
    RegisterTile,
    broadcast,
    i64,
    i64s,
    loop,
    ramp,
    sequence,
)
from tilewright.targets.schedules.cpu_math import ROUNDER, ROUNDER_BITS
from tilewright.targets.schedules.cpu_tile import Core
from tilewright.targets.static import DYNAMIC_QUANTIZE, TEMPLATE

_CHAINS = 4  # independent minima, to hide their latency
_STAGE = "stage_image"
_TINY = 2.0**-64


def quantize_rule(func: Any, device: Device) -> Any:
    """Schedules the PrimFunc of lower/dynamic_quantize.py and that of ``stage_image``."""
    template = json.loads(str(func.attrs[TEMPLATE])) if func.attrs and TEMPLATE in func.attrs else {}
    lanes = Core.of(device).lanes
    if template.get("kernel") == DYNAMIC_QUANTIZE:
        x, result, scale, zero = func.params
        body = _dynamic(x, result, scale, zero, lanes)
    elif template.get("kernel") == _STAGE:
        image, scale, zero, result = func.params
        body = _stage(Stage(**template["stage"]), image, scale, zero, result, lanes)
    else:
        return None
    return tirx.PrimFunc(func.params, body, func.ret_type, attrs=func.attrs)


def _rounded(x: Any, scale: Any, zero: Any, lanes: int) -> Any:
    """round(clamp(x / scale, -zero, 255 - zero)) above ``ROUNDER_BITS``, as int32; the quotient is that of cpu_math.

    Clamping x instead of the quotient, a quarter beyond what rounds to the ends, leaves nothing that could overflow;
    tiny scales, whose reciprocal would, are multiplied by a power of two as x is.
    """

    def fma(a: Any, b: Any, c: Any) -> Any:
        return tirx.call_llvm_pure_intrin(f"float32x{lanes}" if lanes > 1 else "float32", "llvm.fma", a, b, c)

    def bound(end: float) -> Any:
        return broadcast((tirx.const(end, "float32") - zero) * scale, lanes)

    power = tirx.Select(
        scale < tirx.const(_TINY, "float32"), tirx.const(1 / _TINY, "float32"), tirx.const(1, "float32")
    )
    divisor = scale * power
    reciprocal = broadcast(tirx.const(1, "float32") / divisor, lanes)
    x = tirx.min(tirx.max(x, bound(-0.25)), bound(255.25)) * broadcast(power, lanes)
    first = x * reciprocal
    rest = fma(splat("float32", -1, lanes) * first, broadcast(divisor, lanes), x)
    rounded = fma(rest, reciprocal, first) + splat("float32", ROUNDER, lanes)
    return tirx.reinterpret(f"int32x{lanes}" if lanes > 1 else "int32", rounded)


def _bytes(x: Any, scale: Any, zero: Any, lanes: int) -> Any:
    """clamp(round(x / scale) + zero, 0, 255) as uint8, for a vector x and scalars."""
    offset = zero.astype("int32") - tirx.const(ROUNDER_BITS, "int32")
    whole = _rounded(x, scale, zero, lanes) + broadcast(offset, lanes)
    return whole.astype(f"uint8x{lanes}" if lanes > 1 else "uint8")


# -- by a tensor's own range


def _dynamic(x: Any, result: Any, scale: Any, zero_point: Any, lanes: int) -> Any:
    size = math.prod(int(extent) for extent in x.shape)
    leading = [i64(0)] * (len(x.shape) - 1)  # flat places, counted along the last axis

    def load(at: Any, width: int) -> Any:
        return tirx.BufferLoad(x, [*leading, ramp(at, width)])

    low, high = (RegisterTile.make(_CHAINS, 1, lanes, name) for name in ("low", "high"))
    step = _CHAINS * lanes
    full, rest = divmod(size, step)

    def widen(t: Any) -> Any:
        statements = []
        for tile, function in ((low, tirx.min), (high, tirx.max)):
            for chain in range(_CHAINS):
                value = load(t * step + chain * lanes, lanes)
                statements.append(tile.combine(chain, 0, lambda old, f=function, v=value: f(old, v)))  # type: ignore[misc]
        return sequence(statements)

    def widen_one(t: Any) -> Any:
        value, at = load(t + full * step, 1), [i64(0)]
        return sequence(
            [
                tirx.BufferStore(tile.buffer, function(tirx.BufferLoad(tile.buffer, at), value), at)
                for tile, function in ((low, tirx.min), (high, tirx.max))
            ]
        )

    statements = [*low.fill(0), *high.fill(0)]  # zero is always in the range
    statements += [loop(full, widen, name="range")] if full else []
    statements += [loop(rest, widen_one, name="rest")] if rest else []
    least, most, s, z = (tirx.Var(name, "float32") for name in ("least", "most", "s", "z"))
    span = most - least
    nearest = tirx.max(tirx.min(tirx.round(-least / s), tirx.const(255, "float32")), tirx.const(0, "float32"))
    statements += [
        tirx.Bind(least, _reduced(low, tirx.min, lanes)),
        tirx.Bind(most, _reduced(high, tirx.max, lanes)),
        tirx.Bind(s, tirx.if_then_else(span > 0, span / tirx.const(255, "float32"), tirx.const(1, "float32"))),
        tirx.Bind(z, nearest),
        tirx.BufferStore(scale, s, []),
        tirx.BufferStore(zero_point, z.astype("int32").astype("uint8"), []),
    ]

    def store(at: Any, width: int) -> Any:
        value = _bytes(load(at, width), s, z, width)
        return tirx.BufferStore(result, value, [*leading, ramp(at, width)])

    vectors, rest = divmod(size, lanes)
    statements += [loop(vectors, lambda t: store(t * lanes, lanes), name="quantize")] if vectors else []
    statements += [loop(rest, lambda t: store(t + vectors * lanes, 1), name="rest")] if rest else []
    return sequence(statements)


def _reduced(tile: RegisterTile, function: Callable[[Any, Any], Any], lanes: int) -> Any:
    vector = tile.load(0, 0)
    for chain in range(1, _CHAINS):
        vector = function(vector, tile.load(chain, 0))
    while lanes > 1:
        lanes //= 2
        first, second = (tirx.Shuffle([vector], list(range(start, start + lanes))) for start in (0, lanes))
        vector = function(first, second)
    return vector


# -- images


@dataclass(frozen=True)
class Stage:
    """An NCHW image of float32 to be quantized, padded, and given the order [N, C / 4, H, W, 4]."""

    batch: int
    channels: int
    height: int
    width: int
    top: int
    left: int
    new_height: int
    new_width: int

    @property
    def out_shape(self) -> tuple[int, ...]:
        return self.batch, -(-self.channels // 4), self.new_height, self.new_width, 4


def stage_image(stage: Stage) -> Any:
    """The PrimFunc (image float32, scale float32, zero point int32, bytes uint8 of ``out_shape``)."""
    s = stage
    image = te.placeholder(i64s(s.batch, s.channels, s.height, s.width), "float32", "image")
    scale, zero = te.placeholder((), "float32", "scale"), te.placeholder((), "int32", "zero")

    def element(n: Any, group: Any, y: Any, x: Any, lane: Any) -> Any:
        c = group * 4 + lane
        inside = tirx.all(y >= s.top, y < s.top + s.height, x >= s.left, x < s.left + s.width, c < s.channels)
        shifted = tirx.round(image[n, c, y - s.top, x - s.left] / scale()) + zero().astype("float32")
        clamped = tirx.max(tirx.min(shifted, tirx.const(255, "float32")), tirx.const(0, "float32"))
        return tirx.if_then_else(inside, clamped.astype("int32"), zero()).astype("uint8")

    result = te.compute(i64s(*s.out_shape), element, name="stage")
    template = json.dumps({"kernel": _STAGE, "stage": asdict(stage)})
    function = te.create_prim_func([image, scale, zero, result]).without_attr("global_symbol")
    return function.with_attr("op_pattern", 8).with_attr(TEMPLATE, template)


def _stage(stage: Stage, image: Any, scale: Any, zero: Any, result: Any, lanes: int) -> Any:
    s = stage
    if (s.new_height, s.new_width) == (s.height, s.width):  # one long row
        s = replace(s, height=1, new_height=1, width=s.height * s.width, new_width=s.height * s.width)
    while lanes > max(s.width, 1):
        lanes //= 2
    divisor, z = tirx.Var("s", "float32"), tirx.Var("z", "int32")

    def pixels(values: Sequence[Any], width: int) -> Any:
        """Bytes of ``width`` pixels; values are what ``_rounded`` gives, missing channels zero."""
        zeros = broadcast(z.astype("uint8"), 4 * width)
        if not values:
            return zeros
        word = splat("int32", 0, width)
        for channel, value in reversed(list(enumerate(values))):
            low = (1 << 8 * (channel + 1)) - 1  # this byte and those below
            shifted = value << splat("int32", 8 * channel, width)
            if low < 0xFFFFFFFF:
                word = (word & splat("int32", ~low, width)) | (shifted & splat("int32", low, width))
            else:
                word = shifted
        return tirx.reinterpret(f"uint8x{4 * width}", word) + zeros

    def put(n: Any, g: Any, y: Any, x: Any, value: Any, width: int) -> Any:
        return tirx.BufferStore(result, value, [n, g, y, x, ramp(i64(0), 4 * width)])

    def border(n: Any, g: Any, y: Any, first: Any, count: int) -> Any:
        parts, done = [], 0
        for width in (lanes, 1):
            repeat = (count - done) // width
            if repeat:
                start = first + done
                parts.append(
                    loop(repeat, lambda t, w=width, f=start: put(n, g, y, f + t * w, pixels([], w), w), name="border")  # type: ignore[misc]
                )
                done += repeat * width
        return sequence(parts)

    def inner(n: Any, g: Any, y: Any, x: Any, channels: int, width: int) -> Any:
        values = [
            _rounded(tirx.BufferLoad(image, [n, g * 4 + c, y, ramp(x, width)]), divisor, z.astype("float32"), width)
            for c in range(channels)
        ]
        return put(n, g, y + s.top, x + s.left, pixels(values, width), width)

    def image_row(n: Any, g: Any, channels: int, y: Any) -> Any:
        full, rest = divmod(s.width, lanes)
        parts = [border(n, g, y + s.top, i64(0), s.left)] if s.left else []
        parts += [loop(full, lambda t: inner(n, g, y, t * lanes, channels, lanes), name="x")] if full else []
        if rest:  # over what is done already
            parts.append(inner(n, g, y, i64(s.width - lanes), channels, lanes))
        right = s.new_width - s.left - s.width
        return sequence([*parts, border(n, g, y + s.top, i64(s.left + s.width), right)] if right else parts)

    kind = PARALLEL if s.channels * s.height * s.width >= PARALLEL_WORK else SERIAL

    def one(n: Any, g: Any, channels: int) -> Any:
        parts = [loop(s.top, lambda y: border(n, g, y, i64(0), s.new_width), name="above")] if s.top else []
        parts.append(loop(s.height, lambda y: image_row(n, g, channels, y), name="y"))
        below = s.new_height - s.top - s.height
        if below > 0:
            start = s.top + s.height
            parts.append(loop(below, lambda y: border(n, g, y + start, i64(0), s.new_width), name="below"))
        return sequence(parts)

    bound = [tirx.Bind(divisor, tirx.BufferLoad(scale, [])), tirx.Bind(z, tirx.BufferLoad(zero, []))]
    full, rest = divmod(s.channels, 4)

    def groups(n: Any) -> Any:
        parts = [loop(full, lambda g: one(n, g, 4), kind, "group")] if full else []
        return sequence([*parts, one(n, i64(full), rest)] if rest else parts)

    return sequence([*bound, loop(s.batch, groups, name="n")])
