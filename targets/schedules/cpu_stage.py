"""Images made ready for convolutions by planes: padded, and quantized to bytes with four channels innermost."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from tvm import te, tirx

from tilewright.targets.base import Device
from tilewright.targets.schedules.cpu_dot import splat
from tilewright.targets.schedules.cpu_fallback import PARALLEL_WORK
from tilewright.targets.schedules.cpu_quantize import is_tiny, packs, power_of, rounded, words
from tilewright.targets.schedules.cpu_tile import Core
from tilewright.targets.schedules.ir import PARALLEL, SERIAL, broadcast, i64, i64s, loop, ramp, sequence
from tilewright.targets.static import TEMPLATE

_STAGE = "stage_image"


@dataclass(frozen=True)
class Stage:
    """An NCHW image of float32 inside a larger one.

    Attributes:
        top, left: of the image in the larger one; around it are zeros, or what stands for them.
        integer: whether the result is bytes in the order [N, C / 4, H, W, 4], with missing channels zero; it is float32
            in the order of the image otherwise.
    """

    batch: int
    channels: int
    height: int
    width: int
    top: int
    left: int
    new_height: int
    new_width: int
    integer: bool

    @property
    def out_shape(self) -> tuple[int, ...]:
        if self.integer:
            return self.batch, -(-self.channels // 4), self.new_height, self.new_width, 4
        return self.batch, self.channels, self.new_height, self.new_width

    @property
    def out_dtype(self) -> str:
        return "uint8" if self.integer else "float32"


def stage_image(stage: Stage) -> Any:
    """The PrimFunc (image float32, result), for bytes (image, scale float32, zero point int32, result)."""
    s = stage
    image = te.placeholder(i64s(s.batch, s.channels, s.height, s.width), "float32", "image")
    scale, zero = te.placeholder((), "float32", "scale"), te.placeholder((), "int32", "zero")

    def inside(c: Any, y: Any, x: Any) -> Any:
        return tirx.all(y >= s.top, y < s.top + s.height, x >= s.left, x < s.left + s.width, c < s.channels)

    def byte(n: Any, group: Any, y: Any, x: Any, lane: Any) -> Any:
        c = group * 4 + lane
        shifted = tirx.round(image[n, c, y - s.top, x - s.left] / scale()) + zero().astype("float32")
        clamped = tirx.max(tirx.min(shifted, tirx.const(255, "float32")), tirx.const(0, "float32"))
        return tirx.if_then_else(inside(c, y, x), clamped.astype("int32"), zero()).astype("uint8")

    def number(n: Any, c: Any, y: Any, x: Any) -> Any:
        return tirx.if_then_else(inside(c, y, x), image[n, c, y - s.top, x - s.left], tirx.const(0, "float32"))

    result = te.compute(i64s(*s.out_shape), byte if s.integer else number, name="stage")
    template = json.dumps({"kernel": _STAGE, "stage": asdict(stage)})
    operands = [image, scale, zero, result] if s.integer else [image, result]
    function = te.create_prim_func(operands).without_attr("global_symbol")
    return function.with_attr("op_pattern", 8).with_attr(TEMPLATE, template)


def stage_rule(func: Any, device: Device) -> Any:
    """Schedules what ``stage_image`` makes."""
    template = json.loads(str(func.attrs[TEMPLATE])) if func.attrs and TEMPLATE in func.attrs else {}
    if template.get("kernel") != _STAGE:
        return None
    stage, lanes = Stage(**template["stage"]), Core.of(device).lanes
    body = _bytes(stage, lanes, device, *func.params) if stage.integer else _floats(stage, lanes, *func.params)
    return tirx.PrimFunc(func.params, body, func.ret_type, attrs=func.attrs)


def _bytes(stage: Stage, lanes: int, device: Device, image: Any, scale: Any, zero: Any, result: Any) -> Any:
    """Loops for tiny scales and for others, which take a multiplication less."""
    divisor, z = tirx.Var("s", "float32"), tirx.Var("z", "int32")

    def zeros(width: int) -> Any:
        return broadcast(z.astype("uint8"), 4 * width)

    def put(n: Any, group: Any, y: Any, x: Any, value: Any, width: int) -> Any:
        return tirx.BufferStore(result, value, [n, group, y, x, ramp(i64(0), 4 * width)])

    def framed(tiny: bool) -> Any:
        power = power_of(tiny)

        def pixels(n: Any, first: Any, y: Any, x: Any, channels: int, width: int) -> Any:
            loaded = [tirx.BufferLoad(image, [n, first + c, y, ramp(x, width)]) for c in range(channels)]
            if channels == 4 and packs(device, width):
                return words(loaded, divisor, z, width, power)
            values = [rounded(value, divisor, z.astype("float32"), width, power) for value in loaded]
            return tirx.reinterpret(f"uint8x{4 * width}", _merged(values, width)) + zeros(width)

        return _framed(stage, 4, lanes, pixels, zeros, put)

    bound = [tirx.Bind(divisor, tirx.BufferLoad(scale, [])), tirx.Bind(z, tirx.BufferLoad(zero, []))]
    return sequence([*bound, tirx.IfThenElse(is_tiny(divisor), framed(True), framed(False))])


def _merged(values: Sequence[Any], width: int) -> Any:
    """The low bytes of up to four vectors of int32 side by side, zeros for those that are missing."""
    word = splat("int32", 0, width)
    for place, value in reversed(list(enumerate(values))):
        low = (1 << 8 * (place + 1)) - 1  # this byte and those below
        shifted = value << splat("int32", 8 * place, width)
        if low < 0xFFFFFFFF:
            word = (word & splat("int32", ~low, width)) | (shifted & splat("int32", low, width))
        else:
            word = shifted
    return word


def _floats(stage: Stage, lanes: int, image: Any, result: Any) -> Any:
    def pixels(n: Any, channel: Any, y: Any, x: Any, _: int, width: int) -> Any:
        return tirx.BufferLoad(image, [n, channel, y, ramp(x, width)])

    def put(n: Any, channel: Any, y: Any, x: Any, value: Any, width: int) -> Any:
        return tirx.BufferStore(result, value, [n, channel, y, ramp(x, width)])

    return _framed(stage, 1, lanes, pixels, lambda width: splat("float32", 0, width), put)


def _framed(
    stage: Stage,
    group: int,
    lanes: int,
    pixels: Callable[[Any, Any, Any, Any, int, int], Any],
    zeros: Callable[[int], Any],
    put: Callable[[Any, Any, Any, Any, Any, int], Any],
) -> Any:
    """Loops over an image and its frame, ``group`` channels at a time.

    Args:
        pixels: the vector of (sample, first channel, y, x, channels, pixels).
        zeros: the vector of that many pixels of the frame.
        put: stores at (sample, group, y, x) a vector of pixels.
    """
    s = stage
    if (s.new_height, s.new_width) == (s.height, s.width):  # one long row
        s = replace(s, height=1, new_height=1, width=s.height * s.width, new_width=s.height * s.width)
    while lanes > s.width:
        lanes //= 2

    def border(n: Any, g: Any, y: Any, first: Any, count: int) -> Any:
        parts, done = [], 0
        for width in (lanes, 1):
            repeat = (count - done) // width
            if repeat:
                start = first + done
                parts.append(
                    loop(repeat, lambda t, w=width, f=start: put(n, g, y, f + t * w, zeros(w), w), name="border")  # type: ignore[misc]
                )
                done += repeat * width
        return sequence(parts)

    def image_row(n: Any, g: Any, channels: int, y: Any) -> Any:
        def inner(x: Any) -> Any:
            return put(n, g, y + s.top, x + s.left, pixels(n, g * group, y, x, channels, lanes), lanes)

        full, rest = divmod(s.width, lanes)
        parts = [border(n, g, y + s.top, i64(0), s.left)] if s.left else []
        parts.append(loop(full, lambda t: inner(t * lanes), name="x"))
        if rest:  # over what is done already
            parts.append(inner(i64(s.width - lanes)))
        right = s.new_width - s.left - s.width
        return sequence([*parts, border(n, g, y + s.top, i64(s.left + s.width), right)] if right else parts)

    def one(n: Any, g: Any, channels: int) -> Any:
        parts = [loop(s.top, lambda y: border(n, g, y, i64(0), s.new_width), name="above")] if s.top else []
        parts.append(loop(s.height, lambda y: image_row(n, g, channels, y), name="y"))
        below = s.new_height - s.top - s.height
        if below > 0:
            start = s.top + s.height
            parts.append(loop(below, lambda y: border(n, g, y + start, i64(0), s.new_width), name="below"))
        return sequence(parts)

    kind = PARALLEL if s.channels * s.height * s.width >= PARALLEL_WORK else SERIAL
    full, rest = divmod(s.channels, group)

    def groups(n: Any) -> Any:
        parts = [loop(full, lambda g: one(n, g, group), kind, "group")] if full else []
        return sequence([*parts, one(n, i64(full), rest)] if rest else parts)

    return loop(s.batch, groups, name="n")
