"""Dynamic quantization: the range of a tensor, then its bytes, both a vector at a time."""

from __future__ import annotations

import math
from typing import Any

from tvm import tirx

from tilewright.targets.base import Device
from tilewright.targets.schedules.cpu_dot import splat
from tilewright.targets.schedules.cpu_ir import RegisterTile, broadcast, i64, loop, ramp, sequence
from tilewright.targets.schedules.cpu_tile import Core
from tilewright.targets.static import DYNAMIC_QUANTIZE, TEMPLATE

_CHAINS = 4  # independent minima, to hide their latency


def quantize_rule(func: Any, device: Device) -> Any:
    """Schedules the PrimFunc of lower/dynamic_quantize.py."""
    if not func.attrs or str(func.attrs.get(TEMPLATE, "")) != DYNAMIC_QUANTIZE:
        return None
    body = _body(*func.params, Core.of(device).lanes)
    return tirx.PrimFunc(func.params, body, func.ret_type, attrs=func.attrs)


def _body(x: Any, integers: Any, scale: Any, zero_point: Any, lanes: int) -> Any:
    size = math.prod(int(extent) for extent in x.shape)
    leading = [i64(0)] * (len(x.shape) - 1)  # flat places, counted along the last axis

    def load(at: Any, width: int) -> Any:
        return tirx.BufferLoad(x, [*leading, ramp(at, width)])

    low, high = (RegisterTile.make(_CHAINS, 1, lanes, name) for name in ("low", "high"))
    step = _CHAINS * lanes
    full, rest = divmod(size, step)

    def widen(t: Any) -> Any:
        values = [load(t * step + chain * lanes, lanes) for chain in range(_CHAINS)]
        return sequence(
            [low.combine(chain, 0, lambda old, v=v: tirx.min(old, v)) for chain, v in enumerate(values)]  # type: ignore[misc]
            + [high.combine(chain, 0, lambda old, v=v: tirx.max(old, v)) for chain, v in enumerate(values)]  # type: ignore[misc]
        )

    def widen_one(t: Any) -> Any:
        value = load(t + full * step, 1)
        at = [i64(0)]
        return sequence(
            [
                tirx.BufferStore(tile.buffer, function(tirx.BufferLoad(tile.buffer, at), value), at)
                for tile, function in ((low, tirx.min), (high, tirx.max))
            ]
        )

    statements = [*low.fill(0), *high.fill(0)]  # zero is always in the range
    if full:
        statements.append(loop(full, widen, name="range"))
    if rest:
        statements.append(loop(rest, widen_one, name="rest"))
    least, most = _reduced(low, tirx.min, lanes), _reduced(high, tirx.max, lanes)
    bounds = [tirx.Var(name, "float32") for name in ("least", "most")]
    s, inverse_zero = tirx.Var("s", "float32"), tirx.Var("z", "float32")
    span = bounds[1] - bounds[0]
    statements += [
        tirx.Bind(bounds[0], least),
        tirx.Bind(bounds[1], most),
        tirx.Bind(s, tirx.if_then_else(span > 0, span / tirx.const(255, "float32"), tirx.const(1, "float32"))),
        tirx.Bind(inverse_zero, _clamped(tirx.round(-bounds[0] / s), 1)),
        tirx.BufferStore(scale, s, []),
        tirx.BufferStore(zero_point, inverse_zero.astype("int32").astype("uint8"), []),
    ]

    def store(at: Any, width: int) -> Any:
        shifted = tirx.round(load(at, width) / broadcast(s, width)) + broadcast(inverse_zero, width)
        suffix = f"x{width}" if width > 1 else ""
        value = _clamped(shifted, width).astype(f"int32{suffix}").astype(f"uint8{suffix}")
        return tirx.BufferStore(integers, value, [*leading, ramp(at, width)])

    vectors, rest = divmod(size, lanes)
    if vectors:
        statements.append(loop(vectors, lambda t: store(t * lanes, lanes), name="quantize"))
    if rest:
        statements.append(loop(rest, lambda t: store(t + vectors * lanes, 1), name="rest"))
    return sequence(statements)


def _reduced(tile: RegisterTile, function: Any, lanes: int) -> Any:
    vector = tile.load(0, 0)
    for chain in range(1, _CHAINS):
        vector = function(vector, tile.load(chain, 0))
    while lanes > 1:
        lanes //= 2
        halves = [tirx.Shuffle([vector], list(range(first, first + lanes))) for first in (0, lanes)]
        vector = function(*halves)
    return vector


def _clamped(value: Any, lanes: int) -> Any:
    return tirx.max(tirx.min(value, splat("float32", 255, lanes)), splat("float32", 0, lanes))
