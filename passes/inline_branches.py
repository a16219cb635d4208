"""Replaces an If whose condition is known by the nodes of the branch that runs."""

from __future__ import annotations

import onnx_ir as ir

from tilewright.passes.fold_constants import FoldConstants


class InlineBranches(ir.passes.InPlacePass):
    """Inlining one If can make the condition of another known, so constants are folded again after each round."""

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        modified = False
        while _inline_all(model.graph):
            modified = True
            FoldConstants()(model)
        return ir.passes.PassResult(model, modified)


def _inline_all(graph: ir.Graph) -> bool:
    modified = False
    for node in graph:
        if node.domain == "" and node.op_type == "If":
            condition = node.inputs[0].const_value if node.inputs[0] is not None else None
            if condition is not None:
                _inline(graph, node, "then_branch" if condition.numpy().item() else "else_branch")
                modified = True
    return modified


def _inline(graph: ir.Graph, node: ir.Node, branch_name: str) -> None:
    branch = node.attributes[branch_name].as_graph()
    results = tuple(branch.outputs)
    body = tuple(branch)
    branch.outputs.clear()
    branch.remove(body)
    for value in tuple(branch.initializers.values()):
        del branch.initializers[value.name or ""]
        graph.register_initializer(value)
    graph.insert_before(node, body)
    for old, new in zip(node.outputs, results, strict=True):
        # Outputs keep their names through an Identity: a branch may yield one value twice, or an outer one.
        identity = ir.Node("", "Identity", [new], num_outputs=1)
        graph.insert_before(node, identity)
        result, name = identity.outputs[0], old.name
        result.shape, result.type = new.shape, new.type or old.type
        ir.convenience.replace_all_uses_with(old, result, replace_graph_outputs=True)
        old.name, result.name = None, name
    graph.remove(node, safe=True)
