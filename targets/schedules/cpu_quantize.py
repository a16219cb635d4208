"""Bytes of float activations by a tensor's own range, and the exact quantizer that kernels share."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from typing import Any

from tvm import tirx

from tilewright.targets.base import Device
from tilewright.targets.schedules.cpu_dot import Dot, intrinsic, splat
from tilewright.targets.schedules.cpu_math import ROUNDER, ROUNDER_BITS
from tilewright.targets.schedules.cpu_tile import Core
from tilewright.targets.schedules.ir import RegisterTile, broadcast, i64, loop, ramp, sequence, vector_type
from tilewright.targets.static import DYNAMIC_QUANTIZE, TEMPLATE

_CHAINS = 4  # independent minima, to hide their latency
_TINY = 2.0**-64
_ROUNDING = 4  # of AVX-512: as the processor is set to


def quantize_rule(func: Any, device: Device) -> Any:
    """Schedules the PrimFunc of lower/dynamic_quantize.py."""
    template = json.loads(str(func.attrs[TEMPLATE])) if func.attrs and TEMPLATE in func.attrs else {}
    if template.get("kernel") != DYNAMIC_QUANTIZE:
        return None
    x, result, scale, zero = func.params
    body = _dynamic(x, result, scale, zero, Core.of(device).lanes)
    return tirx.PrimFunc(func.params, body, func.ret_type, attrs=func.attrs)


def is_tiny(scale: Any) -> Any:
    """Whether a scale's reciprocal, or what is left after a first quotient, could leave the range of float32."""
    return scale < tirx.const(_TINY, "float32")


def power_of(tiny: bool) -> Any:
    """What both sides of a division by such a scale are multiplied by; None is one."""
    return tirx.const(1 / _TINY, "float32") if tiny else None


def _quotient(x: Any, scale: Any, lanes: int, power: Any) -> Any:
    """x / scale as cpu_math has it, of ``power * x`` and ``power * scale`` if there is a power."""

    def fma(a: Any, b: Any, c: Any) -> Any:
        return tirx.call_llvm_pure_intrin(vector_type("float32", lanes), "llvm.fma", a, b, c)

    if power is not None:
        x, scale = x * broadcast(power, lanes), scale * power
    reciprocal = broadcast(tirx.const(1, "float32") / scale, lanes)
    first = x * reciprocal
    rest = fma(splat("float32", -1, lanes) * first, broadcast(scale, lanes), x)
    return fma(rest, reciprocal, first)


def _bound(end: float, scale: Any, zero: Any, lanes: int) -> Any:
    return broadcast((tirx.const(end, "float32") - zero) * scale, lanes)


def rounded(x: Any, scale: Any, zero: Any, lanes: int, power: Any) -> Any:
    """round(clamp(x / scale, -zero, 255 - zero)) above ``ROUNDER_BITS``, as int32.

    Clamping x instead of the quotient, a quarter beyond what rounds to the ends, leaves nothing that could overflow.

    Args:
        power: a power of two where the scale may be tiny (``is_tiny``), or None.
    """
    x = tirx.min(tirx.max(x, _bound(-0.25, scale, zero, lanes)), _bound(255.25, scale, zero, lanes))
    bits = _quotient(x, scale, lanes, power) + splat("float32", ROUNDER, lanes)
    return tirx.reinterpret(vector_type("int32", lanes), bits)


_CONVERT = {4: "llvm.x86.sse2.cvtps2dq", 8: "llvm.x86.avx.cvt.ps2dq.256", 16: "llvm.x86.avx512.mask.cvtps2dq.512"}
_PACK = {4: "llvm.x86.sse2.{}.128", 8: "llvm.x86.avx2.{}", 16: "llvm.x86.avx512.{}.512"}


def packs(device: Device, lanes: int) -> bool:
    """Whether ``words`` has its instructions."""
    return Dot.of(device).kind in ("vnni", "madd") and lanes in _PACK


def words(values: Sequence[Any], scale: Any, zero: Any, lanes: int, power: Any) -> Any:
    """clamp(round(x / scale) + zero, 0, 255) of four vectors, their bytes side by side: uint8 of ``4 * lanes``.

    The instructions of x86 that narrow integers saturate, which leaves one end to clamp: to integers too large floats
    become the lowest of all. These instructions work on 16 bytes at a time: four of each vector, one after the other.

    Args:
        zero: int32.
        power: as ``rounded`` has it.
    """

    def integers(x: Any) -> Any:
        x = tirx.min(x, _bound(255.25, scale, zero.astype("float32"), lanes))
        unmasked = [splat("int32", 0, lanes), tirx.const(-1, "int16"), tirx.const(_ROUNDING, "int32")]
        operands = [_quotient(x, scale, lanes, power), *(unmasked if lanes == 16 else [])]
        return intrinsic(vector_type("int32", lanes), _CONVERT[lanes], *operands)

    def halves(a: Any, b: Any) -> Any:
        both = intrinsic(f"int16x{2 * lanes}", _PACK[lanes].format("packssdw"), integers(a), integers(b))
        return both + broadcast(zero.astype("int16"), 2 * lanes)

    a, b, c, d = values
    bytes_ = intrinsic(f"int8x{4 * lanes}", _PACK[lanes].format("packuswb"), halves(a, b), halves(c, d))
    order = [first + 4 * lane + place for first in range(0, 4 * lanes, 16) for place in range(4) for lane in range(4)]
    return tirx.reinterpret(f"uint8x{4 * lanes}", tirx.Shuffle([bytes_], order))


def _bytes(x: Any, scale: Any, zero: Any, lanes: int) -> Any:
    """clamp(round(x / scale) + zero, 0, 255) as uint8, for a vector x and scalars."""
    offset = zero.astype("int32") - tirx.const(ROUNDER_BITS, "int32")
    power = tirx.Select(is_tiny(scale), power_of(True), tirx.const(1, "float32"))
    whole = rounded(x, scale, zero, lanes, power) + broadcast(offset, lanes)
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
