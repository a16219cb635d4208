"""exp, tanh, sigmoid and erf in float32 as plain arithmetic, which vectorises; libm takes one element at a time.

Exact where it matters: exp(-inf) = 0, exp(inf) = inf, gradual underflow, NaN stays NaN. Elsewhere within a few units in
the last place; the tests measure it over the whole range. Polynomials are interpolations at Chebyshev nodes, made at
import.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tvm
import tvm_ffi
from tvm import tirx

_LN2_HIGH = 0.693359375  # few bits, so that n * _LN2_HIGH is exact
_LN2_LOW = math.log(2) - _LN2_HIGH


def _polynomial(function: Callable[[float], float], low: float, high: float, degree: int) -> tuple[float, ...]:
    """Coefficients, constant first, of the interpolation of ``function`` at the Chebyshev nodes of [low, high]."""
    series = np.polynomial.Chebyshev.interpolate(np.vectorize(function), degree, domain=[low, high])
    return tuple(float(c) for c in series.convert(kind=np.polynomial.Polynomial).coef)


def _exp_rest(r: float) -> float:
    """(exp(r) - 1 - r) / r^2."""
    return (math.expm1(r) - r) / (r * r) if abs(r) > 1e-3 else 0.5 + r / 6 + r * r / 24


def _over(function: Callable[[float], float], limit: float) -> Callable[[float], float]:
    """``function(x) / x`` as a function of x^2; ``limit`` is its value at 0."""
    return lambda z: function(math.sqrt(z)) / math.sqrt(z) if z > 1e-12 else limit


_EXP = _polynomial(_exp_rest, -0.35, 0.35, 4)  # on |r| <= ln(2) / 2
_TANH_SMALL = _polynomial(_over(math.tanh, 1.0), 0.0, 0.625**2, 5)
_ERF_SMALL = _polynomial(_over(math.erf, 2 / math.sqrt(math.pi)), 0.0, 1.0, 7)
_ERFC_LOG = _polynomial(lambda x: math.log(math.erfc(x)), 0.97, 4.0, 8)


def _f32(value: float) -> Any:
    return tirx.const(value, "float32")


def _horner(coefficients: Sequence[float], x: Any) -> Any:
    value = _f32(coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        value = value * x + _f32(coefficient)
    return value


def _let(value: Any, body: Callable[[Any], Any], dtype: str = "float32") -> Any:
    """``body(variable)`` with the variable bound to ``value``: the value is computed, and lowered, once."""
    var = tirx.Var("t", dtype)
    return tirx.Let(var, value, body(var))


def _is_nan(x: Any) -> Any:
    """By its bits: TVM simplifies ``x != x`` to false."""
    return (tirx.reinterpret("int32", x) & 0x7FFFFFFF) > 0x7F800000


def exp(x: Any) -> Any:
    """exp(x) = 2^n exp(r), with 2^n in two factors so that results may be denormal."""

    def power_of_two(n: Any) -> Any:
        return tirx.reinterpret("float32", (n + 127) << 23)

    def scale(value: Any, n: Any) -> Any:
        return _let(n >> 1, lambda half: value * power_of_two(half) * power_of_two(n - half), "int32")

    def finite(clamped: Any) -> Any:
        def reduced(n: Any) -> Any:
            rest = clamped - n * _f32(_LN2_HIGH) - n * _f32(_LN2_LOW)
            series = _let(rest, lambda r: _horner(_EXP, r) * r * r + r + _f32(1))
            return _let(tirx.Cast("int32", n), lambda whole: scale(series, whole), "int32")

        return _let(tirx.floor(clamped * _f32(1 / math.log(2)) + _f32(0.5)), reduced)

    def guarded(v: Any) -> Any:
        return tirx.Select(_is_nan(v), v, _let(tirx.max(tirx.min(v, _f32(89)), _f32(-104)), finite))

    return _let(x, guarded)


def tanh(x: Any) -> Any:
    """Odd polynomial near 0, 1 - 2 / (exp(2|x|) + 1) elsewhere."""

    def parts(v: Any) -> Any:
        def both(a: Any) -> Any:
            small = _let(v * v, lambda z: v * _horner(_TANH_SMALL, z))
            large = _let(_f32(1) - _f32(2) / (exp(a + a) + _f32(1)), lambda t: tirx.Select(v < _f32(0), -t, t))
            return tirx.Select(_is_nan(v), v, tirx.Select(a < _f32(0.625), small, large))

        return _let(tirx.abs(v), both)

    return _let(x, parts)


def sigmoid(x: Any) -> Any:
    """1 / (1 + exp(-x))."""
    return _f32(1) / (_f32(1) + exp(-x))


def erf(x: Any) -> Any:
    """Odd polynomial up to 1, 1 - exp(log(erfc(|x|))) up to 4, 1 beyond."""

    def parts(v: Any) -> Any:
        def both(a: Any) -> Any:
            small = _let(v * v, lambda z: v * _horner(_ERF_SMALL, z))
            tail = _let(tirx.min(a, _f32(4)), lambda b: _f32(1) - exp(_horner(_ERFC_LOG, b)))
            large = _let(tail, lambda t: tirx.Select(v < _f32(0), -t, t))
            return tirx.Select(_is_nan(v), v, tirx.Select(a < _f32(1), small, large))

        return _let(tirx.abs(v), both)

    return _let(x, parts)


def _fma(a: Any, b: Any, c: Any) -> Any:
    return tirx.call_llvm_pure_intrin("float32", "llvm.fma", a, b, c)


def quotient(x: Any, divisor: Any) -> Any:
    """x / divisor, correctly rounded, for one divisor of many numbers: its reciprocal leaves the loop.

    A quotient by the rounded reciprocal and one correction (Markstein 1990), as long as nothing over- or underflows:
    it is for quantizers, which round and clamp the result. Huge quotients skip the correction, for it would make NaN of
    infinity.
    """

    def corrected(v: Any, reciprocal: Any) -> Any:
        def parts(first: Any) -> Any:
            rest = _fma(-first, divisor, v)
            return tirx.Select(tirx.abs(first) < _f32(2.0**24), _fma(rest, reciprocal, first), first)

        return _let(v * reciprocal, parts)

    return _let(x, lambda v: _let(_f32(1) / divisor, lambda reciprocal: corrected(v, reciprocal)))


ROUNDER = 1.5 * 2.0**23  # added to a float32 below 2**22, it rounds to an integer, which the low bits then hold


ROUNDER_BITS = int(np.float32(ROUNDER).view(np.int32))


@dataclass(frozen=True)
class _Quantizer:
    """max(min(round(x / scale) + zero, high), low) as an integer: what quantizers are made of, taken apart."""

    x: Any
    scale: Any
    zero: Any
    low: float
    high: float

    @classmethod
    def of(cls, cast: Any) -> _Quantizer | None:
        """From ``Cast(int32, ...)`` of such an expression with one scale and one zero point for a tensor."""
        clamped = cast.value
        if str(cast.ty.dtype) != "int32" or not isinstance(clamped, tirx.Max) or not isinstance(clamped.a, tirx.Min):
            return None
        shifted, limits = clamped.a.a, (clamped.b, clamped.a.b)
        rounded, zero = (shifted.a, shifted.b) if isinstance(shifted, tirx.Add) else (shifted, _f32(0))
        if getattr(getattr(rounded, "op", None), "name", "") != "tirx.round":
            return None
        divided = rounded.args[0]
        if not isinstance(divided, tirx.Div) or not all(isinstance(limit, tirx.FloatImm) for limit in limits):
            return None
        if not _is_scalar(divided.b) or not _is_scalar(zero):
            return None
        low, high = (float(limit.value) for limit in limits)
        return cls(divided.a, divided.b, zero, low, high) if max(-low, high) < 2.0**20 else None

    def integer(self) -> Any:
        """The int32.

        What was in memory is divided exactly. Computed numbers have rounding errors of their own, so for them the
        scale's reciprocal does, multiplied into their factors, and where ties go is free.
        """
        low, high = ((tirx.max, _f32(self.low) - self.zero), (tirx.min, _f32(self.high) - self.zero))
        if isinstance(self.x, tvm.ir.TensorLoad):
            clamped = _clamped(quotient(self.x, self.scale), [low, high])
            bits = tirx.reinterpret("int32", clamped + _f32(ROUNDER))
            return bits - (ROUNDER_BITS - tirx.Cast("int32", self.zero))
        reciprocal = _f32(1) / self.scale
        x, before = _unclamped(self.x)
        clamped = _clamped(_scaled(x, reciprocal), [*((f, limit * reciprocal) for f, limit in before), low, high])
        return tirx.reinterpret("int32", clamped + (_f32(ROUNDER) + self.zero)) - ROUNDER_BITS


def _scaled(x: Any, factor: Any) -> Any:
    """``x * factor``, with the factor multiplied into those of ``x`` that are in memory or constant: they are of a
    channel or a tensor, so that their product with it leaves the loop."""
    if isinstance(x, tirx.Add):
        return _scaled(x.a, factor) + _scaled(x.b, factor)
    if isinstance(x, tirx.Mul) and isinstance(x.b, tvm.ir.TensorLoad | tirx.FloatImm):
        return x.a * (x.b * factor)
    return x * factor


_Clamp = tuple[Callable[[Any, Any], Any], Any]  # tirx.max or tirx.min, and its other operand


def _unclamped(x: Any) -> tuple[Any, list[_Clamp]]:
    """``x`` without clamps by constants, and those, innermost first."""
    functions = {tirx.Max: tirx.max, tirx.Min: tirx.min}
    clamps: list[_Clamp] = []
    while type(x) in functions and isinstance(x.b, tirx.FloatImm):
        clamps.insert(0, (functions[type(x)], x.b))
        x = x.a
    return x, clamps


def _clamped(x: Any, clamps: Sequence[_Clamp]) -> Any:
    """All clamps in turn as one; the last two are a lower and an upper limit."""
    ends: list[Any] = [None, None]
    for function, limit in clamps:
        for i, bounding in enumerate((tirx.max, tirx.min)):
            if ends[i] is not None:
                ends[i] = function(ends[i], limit)
            elif function is bounding:
                ends[i] = limit
    return tirx.min(tirx.max(x, ends[0]), ends[1])


def _is_scalar(expr: Any) -> bool:
    """Whether an expression is the same for all elements: a constant, or the element of a tensor that has one."""
    while isinstance(expr, tirx.Cast):
        expr = expr.value
    if isinstance(expr, tvm.ir.TensorLoad):
        return all(isinstance(index, tirx.IntImm) for index in expr.indices)
    return isinstance(expr, tirx.FloatImm | tirx.IntImm)


_FUNCTIONS: Mapping[str, Callable[[Any], Any]] = {
    "tirx.exp": exp,
    "tirx.tanh": tanh,
    "tirx.sigmoid": sigmoid,
    "tirx.erf": erf,
}


def expand_math(func: Any) -> Any:
    """The PrimFunc with float32 calls of these functions, and quantizers, replaced by arithmetic."""

    def replace(call: Any) -> Any:
        function = _FUNCTIONS.get(getattr(call.op, "name", ""))
        return function(call.args[0]) if function is not None and str(call.ty.dtype) == "float32" else call

    def integers(cast: Any) -> Any:
        quantizer = _Quantizer.of(cast)
        return cast if quantizer is None else quantizer.integer()

    body = tvm_ffi.structural_map(func.body, (tirx.Cast, integers))
    return func.with_body(tvm_ffi.structural_map(body, (tvm.ir.Call, replace)))
