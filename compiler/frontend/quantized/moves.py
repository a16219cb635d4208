"""Layers that only move data: flattenings."""

from __future__ import annotations

import onnx_ir as ir

from tilewright.frontend.quantized.result import Build, Match, keeps, result_of, skip
from tilewright.frontend.quantized.values import Unfit, integers_of, map_shape
from tilewright.integer.network import View

VIEWS = ("Flatten", "Reshape", "Squeeze")


def view(node: ir.Node) -> Match:
    source, before = integers_of(node.inputs[0])
    result = result_of(node)
    assert node.inputs[0] is not None
    shape, after = map_shape(node.inputs[0]), map_shape(node.outputs[0])
    if not keeps(source, before, result):
        raise Unfit("result is quantized differently")
    needs: tuple[ir.Node, ...] = ()
    if shape != after and reorders(shape):
        if after[:2] != (1, 1):
            raise Unfit("elements move")
        needs = _readers(result.target)
        outside = any(use.node.outputs[0].is_graph_output() for use in result.target.uses())
        if outside or not needs or any(user.op_type not in ("Gemm", "MatMul") for user in needs):
            raise Unfit("elements move for a layer other than a fully connected one")
    build: Build = lambda from_, to: View(node.name or node.op_type, from_, to)  # noqa: E731
    return Match(node, (source,), result.target, result.affine, build, needs=needs)


def _readers(integers: ir.Value) -> tuple[ir.Node, ...]:
    """The nodes that read dequantized integers."""
    return tuple(use.node for user in integers.uses() for use in user.node.outputs[0].uses())


def flattened(node: ir.Node) -> tuple[int, int, int] | None:
    """The map that a fully connected layer's input was flattened from, where that changes the order of elements."""
    source, _ = integers_of(node.inputs[0])
    source_view = skip(skip(source.producer(), "QuantizeLinear"), "Relu", "Clip")
    if source_view is None or source_view.op_type not in VIEWS or source_view.inputs[0] is None:
        return None
    try:
        view(source_view)
    except Unfit:
        return None
    shape = map_shape(source_view.inputs[0])
    return shape if reorders(shape) else None


def reorders(shape: tuple[int, int, int]) -> bool:
    return shape[0] * shape[1] > 1 and shape[2] > 1
