"""Operators on single elements: of two maps, and functions by table."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from numpy.typing import NDArray
from onnx.reference import ReferenceEvaluator

from tilewright.frontend.quantized.result import Build, Match, result_of
from tilewright.frontend.quantized.values import Unfit, constant, integers_of, map_shape
from tilewright.integer.network import Binary, Lookup
from tilewright.integer.rounding import limits


def binary(node: ir.Node) -> Match:
    first, second = (integers_of(value)[0] for value in node.inputs)
    result = result_of(node)
    shapes = {map_shape(value) for value in (*node.inputs, node.outputs[0]) if value is not None}
    if len(shapes) != 1:
        raise Unfit("operands broadcast")
    if result.clamp is not None:
        raise Unfit("result is clamped")
    types = {
        affine_.dtype for affine_ in (integers_of(node.inputs[0])[1], integers_of(node.inputs[1])[1], result.affine)
    }
    if len(types) != 1:
        raise Unfit("operands and result have different types")
    kind = node.op_type.upper()
    build: Build = lambda a, b, to: Binary(node.name or node.op_type, kind, a, b, to)  # noqa: E731
    return Match(node, (first, second), result.target, result.affine, build)


def function(node: ir.Node) -> Match:
    """A function of single elements: its table comes from ONNX's own definition of it."""
    source, before = integers_of(node.inputs[0])
    result = result_of(node)
    others = [constant(value) for value in node.inputs[1:]]
    if any(value is not None and array is None for value, array in zip(node.inputs[1:], others, strict=True)):
        raise Unfit("parameters are computed")
    if any(array is not None and array.size != 1 for array in others):
        raise Unfit("parameters differ by channel")
    least, most = limits(before.dtype)
    x = ((np.arange(least, most + 1) - before.zero) * np.float32(before.scale)).astype(np.float32)
    (y,) = _evaluate(node, x, others)
    low, high = result.clamp if result.clamp is not None else limits(result.affine.dtype)
    if before.dtype != result.affine.dtype:
        raise Unfit("operand and result have different types")
    table = np.clip(np.rint(y / np.float32(result.affine.scale)) + result.affine.zero, low, high)
    values = table.astype(result.affine.dtype)
    build: Build = lambda from_, to: Lookup(node.name or node.op_type, from_, to, values)  # noqa: E731
    map_shape(node.outputs[0])
    return Match(node, (source,), result.target, result.affine, build)


def _evaluate(node: ir.Node, x: NDArray[np.float32], others: list[NDArray[Any] | None]) -> list[NDArray[np.float32]]:
    proto = ir.serde.serialize_node(node)
    opset = max(node.graph.opset_imports.get("", 1), 1) if isinstance(node.graph, ir.Graph) else 17
    feeds = {proto.input[0]: x}
    feeds |= {name: array for name, array in zip(proto.input[1:], others, strict=True) if name and array is not None}
    kinds = {name: onnx.helper.np_dtype_to_tensor_dtype(array.dtype) for name, array in feeds.items()}
    inputs = [onnx.helper.make_tensor_value_info(name, kind, None) for name, kind in kinds.items()]
    output = onnx.helper.make_tensor_value_info(proto.output[0], onnx.TensorProto.FLOAT, None)
    graph = onnx.helper.make_graph([proto], "function", inputs, [output])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset)])
    return [np.asarray(found) for found in ReferenceEvaluator(model).run(None, feeds)]
