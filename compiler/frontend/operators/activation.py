"""Activation functions and softmax."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from tvm import relax, te, tirx

from tilewright.frontend.operators.elementwise import is_float, log1p, pointwise
from tilewright.frontend.operators.layer import Converter, Expr, Layer, Operator


def _scalar(function: Callable[[Layer, Any], Any]) -> Converter:
    """An activation given as a function of one scalar; it becomes one kernel that fuses into its producer."""
    return lambda layer: pointwise(layer, lambda x: function(layer, x), layer[0])


def _c(layer: Layer, value: float) -> Any:
    return tirx.const(value, layer.dtype())


def _elu(layer: Layer, x: Any) -> Any:
    alpha = _c(layer, layer.number("alpha", 1.0))
    return tirx.Select(x > 0, x, alpha * (tirx.exp(tirx.min(x, _c(layer, 0))) - _c(layer, 1)))


def _celu(layer: Layer, x: Any) -> Any:
    alpha = _c(layer, layer.number("alpha", 1.0))
    zero = _c(layer, 0)
    return tirx.max(zero, x) + tirx.min(zero, alpha * (tirx.exp(tirx.min(x, zero) / alpha) - _c(layer, 1)))


def _selu(layer: Layer, x: Any) -> Any:
    alpha = _c(layer, layer.number("alpha", 1.67326319217681884765625))
    gamma = _c(layer, layer.number("gamma", 1.05070102214813232421875))
    return gamma * tirx.Select(x > 0, x, alpha * (tirx.exp(tirx.min(x, _c(layer, 0))) - _c(layer, 1)))


def _leaky_relu(layer: Layer, x: Any) -> Any:
    return tirx.Select(x < 0, x * _c(layer, layer.number("alpha", 0.01)), x)


def _thresholded_relu(layer: Layer, x: Any) -> Any:
    return tirx.Select(x > _c(layer, layer.number("alpha", 1.0)), x, _c(layer, 0))


def _shrink(layer: Layer, x: Any) -> Any:
    bias, bound = _c(layer, layer.number("bias", 0.0)), layer.number("lambd", 0.5)
    above = tirx.Select(x > _c(layer, bound), x - bias, _c(layer, 0))
    return tirx.Select(x < _c(layer, -bound), x + bias, above)


def _hard_sigmoid(layer: Layer, x: Any) -> Any:
    alpha, beta = layer.number("alpha", 0.2), layer.number("beta", 0.5)
    return tirx.max(_c(layer, 0), tirx.min(_c(layer, 1), _c(layer, alpha) * x + _c(layer, beta)))


def _hard_swish(layer: Layer, x: Any) -> Any:
    return x * tirx.max(_c(layer, 0), tirx.min(_c(layer, 1), x * _c(layer, 1 / 6) + _c(layer, 0.5)))


def _swish(layer: Layer, x: Any) -> Any:
    one = _c(layer, 1)
    return x / (one + tirx.exp(-_c(layer, layer.number("alpha", 1.0)) * x))


def _softplus(layer: Layer, x: Any) -> Any:
    """max(x, 0) + log(1 + e) with e = exp(-|x|), which cannot overflow."""
    return tirx.max(x, _c(layer, 0)) + log1p(tirx.exp(-tirx.abs(x)))


def _mish(layer: Layer, x: Any) -> Any:
    """x tanh(softplus(x)), where tanh(log(1 + e)) = n / (n + 2) with n = e (e + 2) and e = exp(x)."""
    power = tirx.exp(tirx.min(x, _c(layer, 20)))
    n = power * (power + _c(layer, 2))
    return x * n / (n + _c(layer, 2))


def _softsign(layer: Layer, x: Any) -> Any:
    return x / (_c(layer, 1) + tirx.abs(x))


def _gelu(layer: Layer, x: Any) -> Any:
    half, one = _c(layer, 0.5), _c(layer, 1)
    if layer.text("approximate", "none") == "tanh":
        cubic = x + _c(layer, 0.044715) * x * x * x
        return half * x * (one + tirx.tanh(_c(layer, math.sqrt(2 / math.pi)) * cubic))
    return half * x * (one + tirx.erf(x * _c(layer, math.sqrt(0.5))))


def _relu(layer: Layer) -> Expr:
    if is_float(layer.dtype()):
        return relax.op.nn.relu(layer[0])
    return pointwise(layer, lambda x: tirx.max(x, _c(layer, 0)), layer[0])


def _prelu(layer: Layer) -> Expr:
    zero = tirx.const(0, layer.dtype())
    return pointwise(layer, lambda x, slope: tirx.Select(x < zero, x * slope, x), layer[0], layer[1])


def _softmax(op: Callable[..., Expr]) -> Converter:
    def convert(layer: Layer) -> Expr:
        if layer.opset >= 13:
            if layer.dtype() != "float16":
                return op(layer[0], axis=layer.axis(-1))
            return _half_softmax(layer, layer.axis(-1), op is relax.op.nn.log_softmax)
        axis, shape = layer.axis(1), layer.shape()  # the input is taken as a matrix, cut before the axis
        flat = relax.op.reshape(layer[0], (math.prod(shape[:axis]), math.prod(shape[axis:])))
        return relax.op.reshape(layer.emit(op(layer.emit(flat), axis=1)), shape)

    return convert


def _half_softmax(layer: Layer, axis: int, logarithm: bool) -> Expr:
    """The standard's function body, which rounds every step to float16; only the sum is taken in float32."""
    top = layer.emit(relax.op.max(layer[0], axis=[axis], keepdims=True))
    centred = layer.emit(relax.op.subtract(layer[0], top))
    powers = layer.emit(relax.op.exp(centred))
    wide = layer.emit(relax.op.sum(layer.emit(relax.op.astype(powers, "float32")), axis=[axis], keepdims=True))
    total = layer.emit(relax.op.astype(wide, "float16"))
    if logarithm:
        return relax.op.subtract(centred, layer.emit(relax.op.log(total)))
    return relax.op.divide(powers, total)


def _hardmax(layer: Layer) -> Expr:
    """One where the first maximum of the axis is, zero elsewhere."""
    shape, dtype = layer.shape(), layer.dtype()
    axis, data = layer.axis(1 if layer.opset < 13 else -1), layer[0]
    if layer.opset < 13:
        shape = (math.prod(shape[:axis]), math.prod(shape[axis:]))
        data, axis = layer.emit(relax.op.reshape(data, shape)), 1
    first = layer.emit(relax.op.argmax(data, axis=axis, keepdims=True))

    def compute(best: Any) -> Any:
        def at(*index: Any) -> Any:
            chosen = best(*(0 if i == axis else position for i, position in enumerate(index)))
            return tirx.Select(chosen == index[axis].astype("int64"), tirx.const(1, dtype), tirx.const(0, dtype))

        return te.compute(shape, at, name="hardmax")

    return relax.op.reshape(layer.te(compute, first), layer.shape())


OPERATORS: Mapping[str, Operator] = {
    "Celu": Operator(_scalar(_celu)),
    "Elu": Operator(_scalar(_elu)),
    "Gelu": Operator(_scalar(_gelu)),
    "HardSigmoid": Operator(_scalar(_hard_sigmoid)),
    "HardSwish": Operator(_scalar(_hard_swish)),
    "Hardmax": Operator(_hardmax),
    "LeakyRelu": Operator(_scalar(_leaky_relu)),
    "LogSoftmax": Operator(_softmax(relax.op.nn.log_softmax)),
    "Mish": Operator(_scalar(_mish)),
    "PRelu": Operator(_prelu),
    "Relu": Operator(_relu),
    "Selu": Operator(_scalar(_selu)),
    "Shrink": Operator(_scalar(_shrink)),
    "Sigmoid": Operator(lambda layer: relax.op.sigmoid(layer[0])),
    "Softmax": Operator(_softmax(relax.op.nn.softmax)),
    "Softplus": Operator(_scalar(_softplus)),
    "Softsign": Operator(_scalar(_softsign)),
    "Swish": Operator(_scalar(_swish)),
    "Tanh": Operator(lambda layer: relax.op.tanh(layer[0])),
    "ThresholdedRelu": Operator(_scalar(_thresholded_relu)),
}
