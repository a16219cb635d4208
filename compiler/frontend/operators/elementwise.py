"""Element by element: arithmetic, comparison, logic, rounding, transcendental functions and type conversion."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import reduce
from typing import Any

import numpy as np
from tvm import relax, te, tirx

from tilewright.frontend.operators.layer import DTYPES, Converter, Expr, Layer, Operator, Refusal, const, snake


def pointwise(layer: Layer, function: Callable[..., Any], *inputs: Expr, name: str = "") -> Expr:
    """One kernel that applies a scalar function to inputs that broadcast like NumPy's."""
    shape = np.broadcast_shapes(*(tuple(int(dim) for dim in expr.ty.shape) for expr in inputs))

    def compute(*tensors: Any) -> Any:
        def at(*index: Any) -> Any:
            return function(*(read(tensor, index) for tensor in tensors))

        return te.compute(shape, at, name=name or snake(layer.node.op_type))

    return layer.te(compute, *inputs, name=name)


def read(tensor: Any, index: tuple[Any, ...]) -> Any:
    """The element of a tensor that broadcasting puts at an index of the result."""
    offset = len(index) - len(tensor.shape)
    return tensor(*(0 if int(dim) == 1 else index[offset + axis] for axis, dim in enumerate(tensor.shape)))


def is_float(dtype: str) -> bool:
    return dtype.startswith("float")


def _unary(op: Callable[[Expr], Expr]) -> Converter:
    return lambda layer: op(layer[0])


def _binary(op: Callable[[Expr, Expr], Expr]) -> Converter:
    return lambda layer: op(layer[0], layer[1])


def _fold(op: Callable[[Expr, Expr], Expr]) -> Converter:
    """Sum, Min and Max take any number of inputs."""
    return lambda layer: reduce(op, layer.inputs)


def _scalar(function: Callable[[Any], Any]) -> Converter:
    return lambda layer: pointwise(layer, function, layer[0])


def _scalar_of(function: Callable[[Layer, Any], Any]) -> Converter:
    return lambda layer: pointwise(layer, lambda x: function(layer, x), layer[0])


def _mean(layer: Layer) -> Expr:
    return relax.op.divide(reduce(relax.op.add, layer.inputs), const(len(layer.inputs), layer.dtype()))


def _power(layer: Layer) -> Expr:
    base, exponent = layer.dtype(0), layer.dtype(1)
    fixed = layer.array(1)
    if fixed is not None and fixed.size == 1 and len(layer.out_shape()) == layer.rank():
        power = fixed.item()
        if power in (1, 2, 3):
            return reduce(relax.op.multiply, [layer[0]] * int(power))
        if power == 0.5 and is_float(base):
            return relax.op.sqrt(layer[0])
    if is_float(base):
        return pointwise(layer, lambda x, y: tirx.power(x, y.astype(base)), layer[0], layer[1])
    if is_float(exponent):
        return pointwise(
            layer, lambda x, y: tirx.power(x.astype("float64"), y.astype("float64")).astype(base), *layer.inputs
        )
    return _integer_power(layer)


def _integer_power(layer: Layer) -> Expr:
    """Exact, by repeated multiplication; beyond 64 factors every result but those of -1, 0 and 1 has overflowed."""
    shape, base = layer.out_shape(), layer.dtype(0)

    def compute(x: Any, y: Any) -> Any:
        k = te.reduce_axis((0, 66), name="k")
        product = te.comm_reducer(lambda a, b: a * b, lambda t: tirx.const(1, t), name="product")

        def at(*index: Any) -> Any:
            e = read(y, index).astype("int64")
            count = tirx.Select(e <= 64, e, 64 + e % 2)
            return product(tirx.Select(k < count, read(x, index), tirx.const(1, base)), axis=k)

        return te.compute(shape, at, name="power")

    return layer.te(compute, layer[0], layer[1], name="power")


def _modulo(layer: Layer) -> Expr:
    """The remainder takes the divisor's sign, or with fmod the dividend's. (tirx.fmod does not exist on LLVM.)"""
    c_like = bool(layer.integer("fmod", 0))
    if is_float(layer.dtype()) and not c_like:
        raise Refusal("Mod of floating-point numbers needs fmod=1", "ONNX leaves the result undefined otherwise")
    function = tirx.truncmod if c_like or layer.dtype().startswith("uint") else tirx.floormod
    return pointwise(layer, function, layer[0], layer[1])


def _divide(layer: Layer) -> Expr:
    if is_float(layer.dtype()):
        return relax.op.divide(layer[0], layer[1])
    divisor = layer.array(1)
    if divisor is not None and not divisor.all():
        raise Refusal("integer division by zero")
    return pointwise(layer, tirx.truncdiv, layer[0], layer[1])


def _absolute(layer: Layer) -> Expr:
    return layer[0] if layer.dtype().startswith("uint") else relax.op.abs(layer[0])


def _sign(layer: Layer) -> Expr:
    dtype = layer.dtype()
    zero, one = tirx.const(0, dtype), tirx.const(1, dtype)
    if dtype.startswith("uint"):
        return pointwise(layer, lambda x: tirx.Select(x == zero, zero, one), layer[0])
    minus = tirx.const(-1, dtype)
    return pointwise(layer, lambda x: tirx.Select(x > zero, one, tirx.Select(x < zero, minus, x)), layer[0])


def _bit_shift(layer: Layer) -> Expr:
    """A shift by the width or more gives 0, which the machine instruction does not."""
    dtype, left = layer.dtype(), layer.text("direction") == "LEFT"
    width = tirx.const(int(dtype.removeprefix("uint").removeprefix("int")), dtype)

    def shift(x: Any, y: Any) -> Any:
        moved = (x << y) if left else (x >> y)
        return tirx.Select(y < width, moved, tirx.const(0, dtype))

    return pointwise(layer, shift, layer[0], layer[1])


def _is_inf(layer: Layer) -> Expr:
    dtype = layer.dtype()
    infinity = tirx.const(float("inf"), dtype)
    up, down = layer.integer("detect_positive", 1), layer.integer("detect_negative", 1)

    def test(x: Any) -> Any:
        return tirx.any(*([x == infinity] * up + [x == -infinity] * down)) if up or down else tirx.const(False, "bool")

    return pointwise(layer, test, layer[0])


def _cast(layer: Layer) -> Expr:
    return convert(layer, layer[0], layer.dtype(), layer.out_dtype())


def convert(layer: Layer, x: Expr, source: str, target: str) -> Expr:
    """ONNX's Cast: truncation toward zero, wrap-around of integers, nonzero is true."""
    if source == target:
        return x
    if target == "bool":
        return pointwise(layer, lambda v: v != tirx.const(0, source), x, name="cast")
    if source == "bool" and is_float(target):
        return pointwise(layer, lambda v: v.astype("int32").astype(target), x, name="cast")
    if is_float(source) and target in ("int8", "int16", "uint8", "uint16"):
        # A direct conversion of an out-of-range number is undefined in C; through int32 it wraps as NumPy's does.
        return pointwise(layer, lambda v: v.astype("int32").astype(target), x, name="cast")
    if is_float(source) and target == "uint32":
        return pointwise(layer, lambda v: v.astype("int64").astype(target), x, name="cast")
    return relax.op.astype(x, target)


def _bit_cast(layer: Layer) -> Expr:
    source, target = layer.dtype(), layer.out_dtype()
    if "bool" in (source, target):
        return relax.op.astype(layer[0], target)
    return pointwise(layer, lambda x: tirx.reinterpret(target, x), layer[0])


def _clip(layer: Layer) -> Expr:
    x, dtype = layer[0], layer.dtype()
    low, high = _bound(layer, 1, "min"), _bound(layer, 2, "max")
    bounds = (low, high)
    if is_float(dtype) and all(bound is None or isinstance(bound, float) for bound in bounds):
        minimum, maximum = (-np.inf if low is None else low), (np.inf if high is None else high)
        if minimum == 0 and maximum == np.inf:
            return relax.op.nn.relu(x)
        if minimum > maximum:  # ONNX takes the maximum last
            minimum = maximum
        return relax.op.clip(
            x, relax.prim_value(tirx.const(minimum, dtype)), relax.prim_value(tirx.const(maximum, dtype))
        )
    if low is not None:
        x = relax.op.maximum(x, low if isinstance(low, relax.Expr) else const(low, dtype))
    if high is not None:
        x = relax.op.minimum(x, high if isinstance(high, relax.Expr) else const(high, dtype))
    return x


def _bound(layer: Layer, index: int, name: str) -> Any:
    """A limit of Clip: a number where it is known, an expression where not, None where there is none."""
    if layer.has(name):
        return layer.number(name)
    array = layer.array(index)
    if array is None:
        return layer.optional(index)
    value = array.item()
    return None if value != value else value


def _where(layer: Layer) -> Expr:
    return relax.op.where(layer[0], layer[1], layer[2])


def log1p(x: Any) -> Any:
    """log(1 + x) that keeps its digits for small x, out of operations that every target has.

    The usual ``log(u) * x / (u - 1)`` is of no use: TVM simplifies ``(1 + x) - 1`` to ``x``.
    """

    def c(value: float) -> Any:
        return tirx.const(value, x.ty.dtype)

    series = x * (c(1) - x * (c(1 / 2) - x * (c(1 / 3) - x * (c(1 / 4) - x * c(1 / 5)))))
    return tirx.Select(tirx.abs(x) < c(0.03), series, tirx.log(c(1) + x))


def _sinh(layer: Layer, x: Any) -> Any:
    """Near zero by its series, where exp(x) - exp(-x) would cancel."""
    square, half = x * x, _c(layer, 0.5)
    series = x * (_c(layer, 1) + square / _c(layer, 6) * (_c(layer, 1) + square / _c(layer, 20)))
    return tirx.Select(tirx.abs(x) < _c(layer, 0.25), series, half * (tirx.exp(x) - tirx.exp(-x)))


def _cosh(layer: Layer, x: Any) -> Any:
    return _c(layer, 0.5) * (tirx.exp(x) + tirx.exp(-x))


def _asinh(layer: Layer, x: Any) -> Any:
    size, one = tirx.abs(x), _c(layer, 1)
    value = log1p(size + size * size / (one + tirx.sqrt(one + size * size)))
    return tirx.Select(x < _c(layer, 0), -value, value)


def _acosh(layer: Layer, x: Any) -> Any:
    beyond = x - _c(layer, 1)
    return log1p(beyond + tirx.sqrt(beyond) * tirx.sqrt(beyond + _c(layer, 2)))


def _atanh(layer: Layer, x: Any) -> Any:
    return _c(layer, 0.5) * log1p(_c(layer, 2) * x / (_c(layer, 1) - x))


def _c(layer: Layer, value: float) -> Any:
    return tirx.const(value, layer.dtype())


# Operators with a Relax operator of the same meaning
_UNARY: Mapping[str, Callable[[Expr], Expr]] = {
    "Acos": relax.op.acos,
    "Asin": relax.op.asin,
    "Atan": relax.op.atan,
    "BitwiseNot": relax.op.bitwise_not,
    "Ceil": relax.op.ceil,
    "Cos": relax.op.cos,
    "Erf": relax.op.erf,
    "Exp": relax.op.exp,
    "Floor": relax.op.floor,
    "Identity": lambda x: x,
    "Log": relax.op.log,
    "Neg": relax.op.negative,
    "Not": relax.op.logical_not,
    "Round": relax.op.round,
    "Sin": relax.op.sin,
    "Sqrt": relax.op.sqrt,
    "Tan": relax.op.tan,
}
_BINARY: Mapping[str, Callable[[Expr, Expr], Expr]] = {
    "Add": relax.op.add,
    "And": relax.op.logical_and,
    "BitwiseAnd": relax.op.bitwise_and,
    "BitwiseOr": relax.op.bitwise_or,
    "BitwiseXor": relax.op.bitwise_xor,
    "Equal": relax.op.equal,
    "Greater": relax.op.greater,
    "GreaterOrEqual": relax.op.greater_equal,
    "Less": relax.op.less,
    "LessOrEqual": relax.op.less_equal,
    "Mul": relax.op.multiply,
    "Or": relax.op.logical_or,
    "Sub": relax.op.subtract,
    "Xor": relax.op.logical_xor,
}

OPERATORS: Mapping[str, Operator] = {
    **{name: Operator(_unary(op)) for name, op in _UNARY.items()},
    **{name: Operator(_binary(op)) for name, op in _BINARY.items()},
    "Abs": Operator(_absolute),
    "Acosh": Operator(_scalar_of(_acosh)),
    "Asinh": Operator(_scalar_of(_asinh)),
    "Atanh": Operator(_scalar_of(_atanh)),
    "BitCast": Operator(_bit_cast),
    "BitShift": Operator(_bit_shift),
    "Cast": Operator(_cast, f"between {', '.join(DTYPES.values())}"),
    "CastLike": Operator(_cast),
    "Clip": Operator(_clip),
    "Cosh": Operator(_scalar_of(_cosh)),
    "Div": Operator(_divide),
    "IsInf": Operator(_is_inf),
    "IsNaN": Operator(_scalar(tirx.isnan)),
    "Max": Operator(_fold(relax.op.maximum)),
    "Mean": Operator(_mean),
    "Min": Operator(_fold(relax.op.minimum)),
    "Mod": Operator(_modulo, "floating point with fmod=1 only"),
    "Pow": Operator(_power),
    "Reciprocal": Operator(lambda layer: relax.op.divide(const(1, layer.dtype()), layer[0])),
    "Sign": Operator(_sign),
    "Sinh": Operator(_scalar_of(_sinh)),
    "Sum": Operator(_fold(relax.op.add)),
    "Where": Operator(_where),
}
