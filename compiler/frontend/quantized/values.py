"""What a quantized graph (QDQ form) says about its values: integers, scales, zero points, weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from tilewright.integer.elementwise import Affine
from tilewright.integer.rounding import Int
from tilewright.passes.encode import Unpacking, is_unpack
from tilewright.passes.fake_quantize import DOMAIN, FAKE_QUANTIZE

_TYPES = {
    ir.DataType.UINT8: "uint8",
    ir.DataType.INT8: "int8",
    ir.DataType.UINT16: "uint16",
    ir.DataType.INT16: "int16",
}

DEPTH = "tilewright.depth"
"""Where a value's ``meta`` has the depth of its integers, if that is less than its type's."""

NO_DEPTH = "which the accelerator does not compute with"

_PLAIN_BITS = 8  # of weights whose integers are not known
_TOLERANCE = 2.0**-12  # of a weight divided by its scale


class Unfit(Exception):
    """Why a layer cannot be computed in integers; the text completes "its ..."."""


def constant(value: ir.Value | None) -> NDArray[Any] | None:
    """The value of a constant, else None."""
    return None if value is None or value.const_value is None else value.const_value.numpy()


def affine(node: ir.Node, integers: ir.Value) -> Affine:
    """The scale and zero point of a QuantizeLinear or DequantizeLinear."""
    dtype = _TYPES.get(integers.dtype) if integers.dtype is not None else None
    scale, zero = constant(node.inputs[1]), constant(node.inputs[2] if len(node.inputs) > 2 else None)
    if dtype is None or scale is None or scale.size != 1 or (zero is not None and zero.size != 1):
        raise Unfit("activations are not integers of 8 or 16 bits with one constant scale")
    bits = integers.meta.get(DEPTH, 0)
    return Affine(float(np.float32(scale.item())), 0 if zero is None else int(zero.item()), dtype, bits)


def integers_of(value: ir.Value | None) -> tuple[ir.Value, Affine]:
    """The integers that a float value was dequantized from."""
    node = None if value is None else value.producer()
    if node is not None and (node.domain, node.op_type) == (DOMAIN, FAKE_QUANTIZE):
        raise Unfit(f"activations have {node.attributes['bits'].as_int()} bits, {NO_DEPTH}")
    if node is None or node.op_type != "DequantizeLinear" or node.domain != "" or node.inputs[0] is None:
        raise Unfit("activations are not quantized")
    return node.inputs[0], affine(node, node.inputs[0])


def quantization(integers: ir.Value) -> Affine:
    """The quantization of integers, by one of those that read them."""
    for use in integers.uses():
        if use.node.op_type == "DequantizeLinear":
            return integers_of(use.node.outputs[0])[1]
    raise AssertionError("integers that nobody dequantizes")


def map_shape(value: ir.Value) -> tuple[int, int, int]:
    """(height, width, channels) of a value (1, channels, height, width), (1, rows, features) or (1, features)."""
    shape = tuple(int(dim) for dim in value.shape.numpy()) if value.shape is not None else ()
    if len(shape) == 4 and shape[0] == 1:
        return shape[2], shape[3], shape[1]
    if len(shape) == 3 and shape[0] == 1:
        return 1, shape[1], shape[2]
    if len(shape) == 2 and shape[0] == 1:
        return 1, 1, shape[1]
    raise Unfit(f"shape {shape} is not (1, channels, height, width), (1, rows, features) or (1, features)")


def integer_weight(value: ir.Value | None, axis: int, bits: int) -> tuple[Int, NDArray[np.float64]]:
    """A weight as signed integers of at most ``bits`` bits, and their scale for each slice along ``axis``.

    The integers are those that are stored, where the weight is stored with such scales or exponents. Other weights
    (float, grouped, codebooks) are rounded to 8 bits.
    """
    if value is None:
        raise Unfit("weight is missing")
    dense, scales = _dense(value)
    channels = dense.shape[axis]
    broadcast = tuple(-1 if place == axis else 1 for place in range(dense.ndim))
    if scales is not None and scales.size in (1, channels):
        each = np.broadcast_to(scales.astype(np.float64).reshape(-1), channels).copy()
        each[each == 0] = 1.0
        exact = dense / each.reshape(broadcast)
        rounded = np.rint(exact)
        half = 1 << bits - 1
        held = -half <= rounded.min(initial=0) and rounded.max(initial=0) < half
        if held and np.allclose(exact, rounded, rtol=float(np.finfo(np.float32).eps), atol=_TOLERANCE):
            return rounded.astype(np.int64), each
    most = np.abs(dense).max(axis=tuple(place for place in range(dense.ndim) if place != axis))
    each = np.where(most > 0, most.astype(np.float64) / ((1 << _PLAIN_BITS - 1) - 1), 1.0)
    return np.rint(dense / each.reshape(broadcast)).astype(np.int64), each


def _dense(value: ir.Value) -> tuple[NDArray[np.float32], NDArray[Any] | None]:
    """A weight's numbers, and the scales that it is stored with."""
    array, node = constant(value), value.producer()
    if array is not None:
        return array.astype(np.float32), None
    if node is not None and is_unpack(node):
        unpacking = Unpacking.of(node)
        arrays = unpacking.arrays(node)
        exponents = arrays.get("exponents")
        scales = arrays.get("scales") if exponents is None else np.exp2(exponents.astype(np.float64))
        return unpacking.decode(node), scales
    if node is not None and node.op_type == "DequantizeLinear" and node.domain == "":
        stored, scale = constant(node.inputs[0]), constant(node.inputs[1])
        zero = constant(node.inputs[2] if len(node.inputs) > 2 else None)
        axis = node.attributes["axis"].as_int() if "axis" in node.attributes else 1
        if stored is not None and scale is not None and "block_size" not in node.attributes:
            shape = tuple(-1 if place == axis % stored.ndim else 1 for place in range(stored.ndim))
            spread = scale.reshape(shape) if scale.size > 1 else scale.reshape(())
            offset = (
                0 if zero is None else (zero.reshape(shape) if zero.size > 1 else zero.reshape(())).astype(np.int64)
            )
            return ((stored.astype(np.int64) - offset) * spread).astype(np.float32), scale
    raise Unfit("weight is computed")
