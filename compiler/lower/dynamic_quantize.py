"""Quantization of activations by their own range, as one kernel with three results.

Ranges are reductions and everything else depends on them, so this fuses with nothing; targets may have a template.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from tvm import te, tirx

from tilewright.targets.static import DYNAMIC_QUANTIZE, TEMPLATE

_OPAQUE = 8  # Relax's OpPatternKind: never fused


def dynamic_quantize(shape: Sequence[int]) -> Any:
    """The PrimFunc (x float32, integers uint8, scale float32, zero point uint8) of ONNX's DynamicQuantizeLinear.

    scale = (max(x, 0) - min(x, 0)) / 255, or 1 where all is zero; the range always holds zero.
    """
    x = te.placeholder([tirx.IntImm("int64", size) for size in shape], "float32", "x")
    zero = tirx.const(0, "float32")
    low = _reduction(x, te.min, "low")
    high = _reduction(x, te.max, "high")

    def scale_of() -> Any:
        span = tirx.max(high(), zero) - tirx.min(low(), zero)
        return tirx.if_then_else(span > 0, span / tirx.const(255, "float32"), tirx.const(1, "float32"))

    scale = te.compute((), scale_of, name="scale")
    zero_point = te.compute((), lambda: _byte(-tirx.min(low(), zero) / scale()), name="zero_point")
    integers = te.compute(
        x.shape, lambda *i: _byte(tirx.round(x(*i) / scale()) + zero_point().astype("float32")), name="quantize"
    )
    function = te.create_prim_func([x, integers, scale, zero_point]).without_attr("global_symbol")
    return function.with_attr("op_pattern", _OPAQUE).with_attr(TEMPLATE, json.dumps({"kernel": DYNAMIC_QUANTIZE}))


def _reduction(x: Any, operator: Any, name: str) -> Any:
    axes = [te.reduce_axis((0, size), f"{name}{place}") for place, size in enumerate(x.shape)]
    return te.compute((), lambda: operator(x(*axes), axis=axes), name=name)


def _byte(value: Any) -> Any:
    """The nearest integer, ties to even, clamped to 0 .. 255."""
    clamped = tirx.max(tirx.min(tirx.round(value), tirx.const(255, "float32")), tirx.const(0, "float32"))
    return clamped.astype("int32").astype("uint8")
