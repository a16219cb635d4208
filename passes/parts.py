"""A network in parts: what runs between values, and which values have to be kept at a place in the graph."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from tilewright.passes.execution import Feed, runner


def advance(model: ir.Model, live: list[Feed], wanted: list[str]) -> list[Feed]:
    """Computes values of each feed from those of an earlier place in the graph."""
    if all(name in live[0] for name in wanted):
        return [{name: feed[name] for name in wanted} for feed in live]
    run = runner(part(model, list(live[0]), wanted))
    return [run(feed) for feed in live]


def part(model: ir.Model, inputs: Sequence[str], outputs: Sequence[str]) -> ir.Model:
    """The model between values, as a model of its own."""
    graph = ir.convenience.extract(model.graph, inputs, outputs)
    for name in inputs:
        graph.initializers.pop(name, None)
    cut = ir.Model(graph, ir_version=model.ir_version, functions=list(model.functions.values()))
    cut.opset_imports.update(model.opset_imports)
    return cut


def reads(node: ir.Node) -> set[ir.Value]:
    """The values that a node reads, those in its subgraphs too."""
    found = {value for value in node.inputs if value is not None}
    for attribute in node.attributes.values():
        graphs: Sequence[ir.Graph] = ()
        if attribute.type == ir.AttributeType.GRAPH:
            graphs = [attribute.as_graph()]
        elif attribute.type == ir.AttributeType.GRAPHS:
            graphs = attribute.as_graphs()
        for graph in graphs:
            found.update(graph.outputs, *(reads(inner) for inner in graph))
    return found


def crossing(
    graph: ir.Graph, nodes: Sequence[ir.Node], read_by: Sequence[set[ir.Value]], place: int, names: Sequence[str]
) -> list[str]:
    """The values that exist before a node's place and are read at it or after, or are wanted in the end."""
    made = {*graph.inputs, *(value for node in nodes[:place] for value in node.outputs)}
    read = set().union(*read_by[place:])
    return [value.name or "" for value in made if value in read or value.name in names]
