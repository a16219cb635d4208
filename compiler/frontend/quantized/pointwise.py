"""Operators on single elements: of two maps, and functions by table."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from tilewright.frontend.quantized.expression import expression
from tilewright.frontend.quantized.result import Build, Match, Result, result_of
from tilewright.frontend.quantized.values import Unfit, constant, integers_of, map_shape
from tilewright.integer.capabilities import Capabilities
from tilewright.integer.network import Binary, Lookup
from tilewright.integer.tables import knots


def binary(node: ir.Node, capabilities: Capabilities) -> Match:
    """A sum, difference or product of two maps; one that is a function of one map alone is a table."""
    if any(constant(value) is not None for value in node.inputs):
        return function(node, capabilities)
    try:
        (first, a), (second, b) = (integers_of(value) for value in node.inputs)
    except Unfit:
        return function(node, capabilities)
    result = result_of(node)
    shapes = [map_shape(value) for value in (*node.inputs, node.outputs[0]) if value is not None]
    ranks = {len(value.shape or ()) for value in (*node.inputs, node.outputs[0]) if value is not None}
    if len(set(shapes)) != 1 and (not capabilities.mixed or len(ranks) != 1):
        raise Unfit("operands broadcast")
    if result.clamp is not None and not capabilities.clamps:
        raise Unfit("result is clamped")
    if len({a.dtype, b.dtype, result.affine.dtype}) != 1 and not capabilities.mixed:
        raise Unfit("operands and result have different types")
    kind = node.op_type.upper()
    clamp = result.clamp
    build: Build = lambda a, b, to: Binary(node.name or node.op_type, kind, a, b, to, clamp)  # noqa: E731
    return Match(node, (first, second), result.target, result.affine, build)


def function(node: ir.Node, capabilities: Capabilities) -> Match:
    """A function of single elements, of one operator or several: its table comes from ONNX's own definition of them."""
    found = expression(node)
    source, before = integers_of(found.leaf)
    result = result_of(node)
    if before.dtype != result.affine.dtype and not capabilities.mixed:
        raise Unfit("operand and result have different types")
    if before.bits > capabilities.table_depth:
        raise Unfit(f"operand has {before.bits} bits, more than a table takes")
    low, high = before.limits
    places = np.arange(low, high + 1) if before.bits <= 8 else knots(before.bits) + low
    x = ((places - before.zero) * np.float32(before.scale)).astype(np.float32)
    table = integers(found(x), result).astype(result.affine.dtype)
    slopes = np.diff(table.astype(np.int64)) if before.bits > 8 else np.zeros(1, np.int64)
    if np.abs(slopes).max() >= 1 << capabilities.slope_bits - 1:
        raise Unfit(f"table of a function with steps has differences of more than {capabilities.slope_bits} bits")
    build: Build = lambda from_, to: Lookup(node.name or node.op_type, from_, to, table)  # noqa: E731
    map_shape(node.outputs[0])
    return Match(node, (source,), result.target, result.affine, build, covers=found.inner)


def integers(y: NDArray[np.float32], result: Result) -> NDArray[np.int64]:
    """Real numbers as integers of a result; what is no number becomes zero."""
    low, high = result.clamp if result.clamp is not None else result.affine.limits
    steps = np.rint(np.nan_to_num(y.astype(np.float64)) / result.affine.scale)
    whole: NDArray[np.int64] = np.clip(steps + result.affine.zero, low, high).astype(np.int64)
    return whole
