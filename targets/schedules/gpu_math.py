"""erf and tanh in float32 as few operations that need few registers.

OpenCL libraries select among polynomials: 240 instructions an element, and more values alive than a Mali has registers
where a compiler interleaves the elements of a tile. Here each is one odd rational function, x P(x^2) / Q(x^2), up to
where the function is 1 in float32. P and Q are least-squares fits of the relative error at Chebyshev nodes, linearised
and reweighted (Sanathanan and Koerner, 1963), made at import; all coefficients are positive, so nothing cancels.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import tvm
import tvm_ffi
from numpy.polynomial import Chebyshev, Polynomial
from tvm import tirx

from tilewright.targets.schedules.gpu_common import GpuLimits

_NODES = 400
_ROUNDS = 10  # of reweighting; settled after five
_FEW_REGISTERS = 64  # a work-item; NVIDIA's GPUs have 255 and short functions of their own

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Rational:
    """x P(x^2) / Q(x^2) for 0 <= x <= limit, and 1 beyond; coefficients begin with the constant."""

    limit: float
    top: Floats
    bottom: Floats

    @classmethod
    def of(cls, function: Callable[[float], float], limit: float, degree: int = 5) -> Rational:
        """Fits an odd function that reaches 1 in float32 at ``limit``; P and Q are of this degree."""
        x = limit * np.cos((np.arange(_NODES) + 0.5) * np.pi / (2 * _NODES))
        basis = np.polynomial.chebyshev.chebvander(2 * (x / limit) ** 2 - 1, degree)
        wanted = np.array([function(value) / value for value in x])[:, None]
        bottom = np.ones(_NODES)
        for _ in range(_ROUNDS):  # P - wanted Q = 0, weighted by what makes it the relative error of P / Q
            rows = np.hstack([basis / wanted, -basis]) / bottom[:, None]
            found = np.linalg.svd(rows, full_matrices=False)[2][-1]
            bottom = np.abs(basis @ found[degree + 1 :])
        parts = [
            Chebyshev(part, domain=[0, limit**2]).convert(kind=Polynomial).coef
            for part in (found[: degree + 1], found[degree + 1 :])
        ]
        return cls(limit, parts[0] / parts[1][0], parts[1] / parts[1][0])

    def __call__(self, x: Any) -> Any:
        """The TIR expression; NaN stays NaN."""

        def ratio(size: Any) -> Any:
            return _let(size * size, lambda z: size * _horner(self.top, z) / _horner(self.bottom, z))

        def bounded(size: Any, value: Any) -> Any:
            return tirx.Select(tirx.any(size > _f32(self.limit), value > _f32(1)), _f32(1), value)

        def signed(v: Any, size: Any) -> Any:
            magnitude = _let(ratio(size), lambda value: bounded(size, value))
            return _let(magnitude, lambda m: tirx.Select(v < _f32(0), -m, m))

        return _let(x, lambda v: _let(tirx.abs(v), lambda size: signed(v, size)))


def _f32(value: float) -> Any:
    return tirx.const(float(value), "float32")


def _horner(coefficients: Floats, z: Any) -> Any:
    value = _f32(coefficients[-1])
    for coefficient in coefficients[-2::-1]:
        value = value * z + _f32(coefficient)
    return value


def _let(value: Any, body: Callable[[Any], Any]) -> Any:
    """``body(variable)`` with the variable bound to ``value``: the value is computed once."""
    var = tirx.Var("t", "float32")
    return tirx.Let(var, value, body(var))


FUNCTIONS: Mapping[str, Rational] = {
    "tirx.erf": Rational.of(math.erf, 3.92),
    "tirx.tanh": Rational.of(math.tanh, 9.0),
}


def expand_math(func: Any, limits: GpuLimits) -> Any:
    """The PrimFunc with float32 erf and tanh as arithmetic, for devices with few registers; others get it back."""
    if limits.registers > _FEW_REGISTERS:
        return func

    def replace(call: Any) -> Any:
        function = FUNCTIONS.get(getattr(call.op, "name", ""))
        return function(call.args[0]) if function is not None and str(call.ty.dtype) == "float32" else call

    return func.with_body(tvm_ffi.structural_map(func.body, (tvm.ir.Call, replace)))
