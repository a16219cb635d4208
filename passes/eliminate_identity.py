"""Removes nodes that pass their first input through: Identity, inference Dropout, and no-op reshapes of data."""

from __future__ import annotations

import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass

_SAME_SHAPE = frozenset({"Reshape", "Expand", "Flatten", "Squeeze", "Unsqueeze", "Tile", "Slice", "Pad"})


class EliminateIdentity(ir.passes.InPlacePass):
    """Rules:

    1. Identity: its input.
    2. Dropout whose mask is unused, without training mode: its data input.
    3. Cast to the type the input has: its input.
    4. Reshape, Expand, Slice, Pad and relatives that keep a static shape: their input. (Pad and Slice may shift data
       only by changing the shape, or with both signs of padding, or a negative step: those are left alone.)
    5. Concat, Sum, Max, Min, Mean of one input: that input.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        modified = RemoveUnusedNodesPass()(model).modified  # a mask that nothing reads goes first
        for node in model.graph:
            if node.domain == "" and _passes_through(node):
                modified |= _remove(model.graph, node)
        return ir.passes.PassResult(model, modified)


def _passes_through(node: ir.Node) -> bool:
    source, result = (node.inputs[0] if node.inputs else None), node.outputs[0]
    if source is None or any(output.uses() or output.is_graph_output() for output in node.outputs[1:]):
        return False
    if node.op_type == "Identity":
        return True
    if node.op_type == "Dropout":
        training = node.inputs[2] if len(node.inputs) > 2 else None
        return training is None or (training.const_value is not None and not training.const_value.numpy().any())
    if node.op_type == "Cast":
        return source.dtype is not None and node.attributes["to"].as_int() == source.dtype.value
    if node.op_type in ("Concat", "Sum", "Max", "Min", "Mean"):
        return len(node.inputs) == 1
    if node.op_type in _SAME_SHAPE:
        static = source.shape is not None and source.shape.is_static()
        return static and source.shape == result.shape and not _shifts(node)
    return False


def _shifts(node: ir.Node) -> bool:
    if node.op_type == "Slice":
        steps = node.inputs[4] if len(node.inputs) > 4 else None
        return steps is not None and (steps.const_value is None or bool((steps.const_value.numpy() < 0).any()))
    if node.op_type == "Pad":
        pads = node.inputs[1].const_value if len(node.inputs) > 1 and node.inputs[1] is not None else None
        return "pads" in node.attributes or pads is None or bool((pads.numpy() != 0).any())
    return False


def _remove(graph: ir.Graph, node: ir.Node) -> bool:
    """Puts the input in the place of the output; the name of a graph output goes over to it."""
    source, result = node.inputs[0], node.outputs[0]
    assert source is not None
    if result.is_graph_output():
        if source.is_graph_output() or source.is_graph_input() or source.is_initializer() or source.graph is not graph:
            return False  # only a node of this graph can yield an output, and under one name
        source.name, result.name = result.name, None
        source.shape, source.type = source.shape or result.shape, source.type or result.type
    ir.convenience.replace_all_uses_with(result, source, replace_graph_outputs=True)
    graph.remove(node, safe=True)
    return True
