"""Quantised operators: integer products are exact in int32, scales are applied in floating point, as ONNX says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx_ir as ir
from tvm import relax, te, tirx

from tilewright.frontend.operators.convolution import convolve
from tilewright.frontend.operators.elementwise import pointwise, read
from tilewright.frontend.operators.layer import Expr, Layer, Operator, Refusal, const
from tilewright.lower.dynamic_quantize import dynamic_quantize
from tilewright.passes.dynamic_activations import DYNAMIC_QUANTIZE
from tilewright.passes.fake_quantize import FAKE_QUANTIZE
from tilewright.plan import PackedParameter

_INTEGERS = ("uint8", "int8", "uint16", "int16")


def _saturate(value: Any, zero_point: Any, dtype: str, wide: str) -> Any:
    """A quotient as its nearest integer (ties to even) plus the zero point, clamped to the type."""
    limits = np.iinfo(dtype)
    shifted = tirx.round(value) + zero_point.astype(wide)
    low, high = tirx.const(float(limits.min), wide), tirx.const(float(limits.max), wide)
    return tirx.max(tirx.min(shifted, high), low).astype("int32").astype(dtype)


def _parameter_index(layer: Layer, index: tuple[Any, ...], parameter: int) -> tuple[Any, ...]:
    """Where a parameter of an element is: one for all, one for each slice of ``axis``, or one for each block along it.

    Args:
        parameter: which input; some exporters mix scalars with shape (1,).
    """
    rank = layer.rank(parameter)
    if rank == 0 or (rank == 1 and layer.shape(parameter) == (1,)):
        return (0,) * rank
    axis, block = layer.axis(1 if layer.rank() > 1 else 0), layer.integer("block_size", 0)
    if not block:
        return (index[axis],)
    return tuple(tirx.floordiv(i, block) if a == axis else i for a, i in enumerate(index))


def _quantize_linear(layer: Layer) -> Expr:
    dtype = layer.out_dtype()
    if dtype not in _INTEGERS:
        raise Refusal(f"quantisation to {dtype} is not supported, to {', '.join(_INTEGERS)} it is")
    wide = "float32" if layer.dtype(0) == "int32" else layer.dtype(1)
    zero = layer.optional(2)

    def compute(x: Any, scale: Any, *zero_point: Any) -> Any:
        def at(*index: Any) -> Any:
            shift = zero_point[0](*_parameter_index(layer, index, 2)) if zero_point else tirx.const(0, dtype)
            # float16 cannot hold the sum with a 16-bit zero point, and float32 division of float16 rounds alike.
            quotient = x(*index).astype(wide) / scale(*_parameter_index(layer, index, 1)).astype(wide)
            return _saturate(quotient.astype("float32"), shift, dtype, "float32")

        return te.compute(layer.out_shape(), at, name="quantize")

    return layer.te(compute, layer[0], layer[1], *([] if zero is None else [zero]))


def _dequantize_linear(layer: Layer) -> Expr:
    zero, dtype = layer.optional(2), layer.out_dtype()

    def compute(x: Any, scale: Any, *zero_point: Any) -> Any:
        def at(*index: Any) -> Any:
            value = x(*index).astype("int32")
            if zero_point:
                value = value - zero_point[0](*_parameter_index(layer, index, 2)).astype("int32")
            return (value.astype("float32") * scale(*_parameter_index(layer, index, 1)).astype("float32")).astype(dtype)

        return te.compute(layer.out_shape(), at, name="dequantize")

    return layer.te(compute, layer[0], layer[1], *([] if zero is None else [zero]))


def _fake_quantize(layer: Layer) -> Expr:
    """Eight bits as the integers that they are, so that a kernel can take them; see passes/fake_quantize.py."""
    bits, signed = layer.integer("bits"), layer.integer("signed")
    zero_point = layer.array(2)
    if bits == 8 and zero_point is not None:
        dtype = "int8" if signed else "uint8"

        def quantize(x: Any, scale: Any, zero: Any) -> Any:
            return te.compute(
                layer.out_shape(), lambda *i: _saturate(x(*i) / scale(), zero(), dtype, "float32"), name="quantize"
            )

        integers = layer.te(quantize, layer[0], layer[1], layer[2], name="quantize")
        return _dequantize(layer, integers, layer[1], const(zero_point, dtype))
    low = -(2.0 ** (bits - 1)) if signed else 0.0

    def fake(x: Any, scale: Any, zero: Any) -> Any:
        def at(*index: Any) -> Any:
            shifted = tirx.round(x(*index) / scale()) + zero()
            limits = [tirx.const(limit, "float32") for limit in (low, low + 2.0**bits - 1)]
            return (tirx.max(tirx.min(shifted, limits[1]), limits[0]) - zero()) * scale()

        return te.compute(layer.out_shape(), at, name="fake_quantize")

    return layer.te(fake, layer[0], layer[1], layer[2])


def _dequantize(layer: Layer, integers: Expr, scale: Expr, zero_point: Expr) -> Expr:
    def compute(q: Any, s: Any, zero: Any) -> Any:
        def at(*index: Any) -> Any:
            return (q(*index).astype("int32") - zero().astype("int32")).astype("float32") * s()

        return te.compute(layer.out_shape(), at, name="dequantize")

    return layer.te(compute, integers, scale, zero_point, name="dequantize")


def _dynamic_quantize_linear(layer: Layer) -> list[Expr]:
    shape = layer.shape()
    if 0 in shape:
        raise Refusal("a tensor without elements has no range")
    rows = shape or (1,)
    data = layer[0] if shape else layer.emit(relax.op.reshape(layer[0], rows))
    types = [relax.TensorType(rows, "uint8"), relax.TensorType((), "float32"), relax.TensorType((), "uint8")]
    callee = layer.builder.add_func(dynamic_quantize(rows), "dynamic_quantize")
    made = layer.emit(relax.call_tir(callee, [data], out_ty=types))
    integers, scale, zero = (layer.emit(relax.TupleGetItem(made, place)) for place in range(3))
    return [integers if shape else layer.emit(relax.op.reshape(integers, ())), scale, zero]


def _dynamic_quantize(layer: Layer) -> Expr:
    """To bytes and back; see passes/dynamic_activations.py."""
    return _dequantize(layer, *_dynamic_quantize_linear(layer))


_LEAST_STORED = 1024  # bytes; smaller constants are dequantized at compile time


def stored_integers(node: ir.Node) -> ir.Value | None:
    """The constant integers that a DequantizeLinear turns into a weight; they stay integers in the artifact."""
    value = node.inputs[0] if node.op_type == "DequantizeLinear" and node.domain == "" else None
    if value is None or value.const_value is None or value.const_value.nbytes < _LEAST_STORED:
        return None
    return value if value.const_value.dtype in (ir.DataType.INT8, ir.DataType.UINT8) else None


def integer_parameter(value: ir.Value) -> PackedParameter:
    """Such integers as a parameter of the network, which the loader's prologue dequantizes."""
    assert value.const_value is not None
    return PackedParameter(value.name or "", value.const_value.numpy(), "raw", 8)


def _centre(layer: Layer, index: int, zero_index: int, row_axis: int | None) -> Expr:
    """An integer input minus its zero point, in int32. A zero point of rank 1 runs along ``row_axis``."""
    array, zero_array = layer.array(index), layer.array(zero_index)
    zero = layer.optional(zero_index)
    rank = layer.rank(index)
    shape: tuple[int, ...] | None = None
    if zero is not None and row_axis is not None and layer.rank(zero_index) == 1:
        shape = tuple(layer.shape(zero_index)[0] if a == row_axis % rank else 1 for a in range(rank))
    if array is not None and (zero is None or zero_array is not None):
        shift = np.zeros((), np.int32) if zero_array is None else zero_array.astype(np.int32)
        return const(array.astype(np.int32) - (shift if shape is None else shift.reshape(shape)), "int32")
    if zero is None:
        return layer.emit(relax.op.astype(layer[index], "int32"))
    if shape is not None:
        zero = layer.emit(relax.op.reshape(zero, shape))
    return pointwise(layer, lambda v, z: v.astype("int32") - z.astype("int32"), layer[index], zero, name="centre")


def _requantize(layer: Layer, total: Expr, scales: Expr, zero: Expr | None) -> Expr:
    dtype = layer.out_dtype()

    def compute(value: Any, scale: Any, *zero_point: Any) -> Any:
        def at(*index: Any) -> Any:
            shift = read(zero_point[0], index) if zero_point else tirx.const(0, dtype)
            return _saturate(value(*index).astype("float32") * read(scale, index), shift, dtype, "float32")

        return te.compute(layer.out_shape(), at, name="requantize")

    return layer.te(compute, total, scales, *([] if zero is None else [zero]), name="requantize")


def _combined_scale(layer: Layer, a: Expr, b: Expr, y: Expr) -> Expr:
    return pointwise(
        layer,
        lambda p, q, r: p.astype("float32") * q.astype("float32") / r.astype("float32"),
        a,
        b,
        y,
        name="scale",
    )


def _column(layer: Layer, index: int, axis: int, rank: int) -> Expr:
    """A parameter of rank 1 laid along ``axis`` of a tensor of ``rank``; a scalar as it is."""
    if layer.rank(index) != 1:
        return layer[index]
    shape = tuple(layer.shape(index)[0] if a == axis % rank else 1 for a in range(rank))
    return layer.emit(relax.op.reshape(layer[index], shape))


def _q_linear_conv(layer: Layer) -> Expr:
    rank = layer.rank()
    data = _centre(layer, 0, 2, None)
    total = convolve(layer, data, _centre(layer, 3, 5, 0), "int32")
    bias = layer.optional(8)
    if bias is not None:
        total = layer.emit(relax.op.add(total, layer.emit(relax.op.reshape(bias, (1, -1) + (1,) * (rank - 2)))))
    scales = _combined_scale(layer, _scalar(layer, 1), _column(layer, 4, 1, rank), _scalar(layer, 6))
    return _requantize(layer, total, scales, _scalar(layer, 7))


def _scalar(layer: Layer, index: int) -> Expr:
    """A parameter that is a scalar, though some exporters write it with shape (1,)."""
    return layer[index] if layer.rank(index) == 0 else layer.emit(relax.op.reshape(layer[index], ()))


def _q_linear_matmul(layer: Layer) -> Expr:
    rank = len(layer.out_shape())
    a, b = _centre(layer, 0, 2, -2), _centre(layer, 3, 5, -1)
    total = layer.emit(relax.op.matmul(a, b, out_dtype="int32"))
    scales = _combined_scale(
        layer, _column(layer, 1, -2, rank), _column(layer, 4, -1, rank), _column(layer, 6, -2, rank)
    )
    return _requantize(layer, total, scales, _column(layer, 7, -2, rank))


def _conv_integer(layer: Layer) -> Expr:
    return convolve(layer, _centre(layer, 0, 2, None), _centre(layer, 1, 3, 0), "int32")


def _matmul_integer(layer: Layer) -> Expr:
    return relax.op.matmul(_centre(layer, 0, 2, -2), _centre(layer, 1, 3, -1), out_dtype="int32")


OWN: Mapping[str, Operator] = {
    FAKE_QUANTIZE: Operator(_fake_quantize, "8 bits"),
    DYNAMIC_QUANTIZE: Operator(_dynamic_quantize),
}
"""Operators of domain ``tilewright`` that have a converter besides their function body."""

OPERATORS: Mapping[str, Operator] = {
    "ConvInteger": Operator(_conv_integer),
    "DequantizeLinear": Operator(_dequantize_linear, "from 8, 16 and 32-bit integers"),
    "DynamicQuantizeLinear": Operator(_dynamic_quantize_linear),
    "MatMulInteger": Operator(_matmul_integer),
    "QLinearConv": Operator(_q_linear_conv),
    "QLinearMatMul": Operator(_q_linear_matmul),
    "QuantizeLinear": Operator(_quantize_linear, "to 8 and 16-bit integers"),
}
