"""Quantizers before operators that only pick or move elements, so that these run on integers.

``Q(MaxPool(x)) = MaxPool(Q(x))`` exactly, as quantizers are monotone; likewise for views and clamps of one tensor.
Before a concatenation each operand gets the result's quantizer, unless it has it already: a function by table.
"""

from __future__ import annotations

import onnx_ir as ir

from tilewright.frontend.quantized.moves import VIEWS, along_channels
from tilewright.frontend.quantized.result import keeps, result_of
from tilewright.frontend.quantized.values import DEPTH, Unfit, integers_of

_PICKS = ("MaxPool", *VIEWS)
_DEQUANTIZE = "DequantizeLinear"


def hoist(graph: ir.Graph) -> None:
    """Puts a copy of each such quantizer, and of the clamp in front of it, before the operator that it follows."""
    for node in reversed(list(graph)):
        if node.op_type == "Concat" and node.domain == "" and along_channels(node):
            _align(graph, node)
            continue
        value = node.inputs[0] if node.inputs else None
        if node.op_type not in _PICKS or node.domain != "" or value is None or len(list(value.uses())) != 1:
            continue
        producer = value.producer()
        if producer is None or producer.op_type == _DEQUANTIZE or value.is_graph_output():
            continue
        chain = _quantizer(node.outputs[0])
        if chain:
            node.replace_input_with(0, _copy(graph, node, value, producer, chain))


def _align(graph: ir.Graph, node: ir.Node) -> None:
    """Quantizes a concatenation's operands as its result."""
    chain = _quantizer(node.outputs[0])
    if not chain:
        return
    try:
        result, sources = result_of(node), [integers_of(value) for value in node.inputs]
    except Unfit:
        return
    plain = chain[0].op_type == "QuantizeLinear"
    made: dict[ir.Value, ir.Value] = {}
    for place, (value, (source, before)) in enumerate(zip(list(node.inputs), sources, strict=True)):
        assert value is not None
        if not keeps(source, before, result):
            if value not in made:
                clip = ir.node("Clip", [value], name=f"{node.name or node.op_type}/operand")  # without bounds
                clip.outputs[0].name, clip.outputs[0].type = f"{clip.name}.clipped", value.type
                producer = value.producer()
                assert producer is not None
                made[value] = _copy(graph, node, value, producer, [clip, *chain] if plain else chain)
            node.replace_input_with(place, made[value])


def _quantizer(value: ir.Value) -> list[ir.Node]:
    """QuantizeLinear and DequantizeLinear that alone read a value, after clamps."""
    chain: list[ir.Node] = []
    while True:
        uses = list(value.uses())
        if len(uses) != 1 or value.is_graph_output():
            return []
        node = uses[0].node
        chain.append(node)
        value = node.outputs[0]
        if node.domain != "" or node.op_type not in ("Relu", "Clip", "QuantizeLinear"):
            return []
        if node.op_type == "QuantizeLinear":
            readers = [use.node for use in value.uses()]
            return [*chain, readers[0]] if readers and readers[0].op_type == _DEQUANTIZE else []


def _copy(graph: ir.Graph, node: ir.Node, value: ir.Value, producer: ir.Node, chain: list[ir.Node]) -> ir.Value:
    """Of the links of a chain, behind a value; the last one's result."""
    copies, current = [], value
    for link in chain:
        label = f"{link.name or link.op_type}/{value.name}/before {node.name or node.op_type}"
        copy = ir.Node("", link.op_type, [current, *link.inputs[1:]], list(link.attributes.values()), name=label)
        made, old = copy.outputs[0], link.outputs[0]
        made.name, made.shape, made.type = f"{old.name}/before {value.name}", value.shape, old.type
        if DEPTH in old.meta:
            made.meta[DEPTH] = old.meta[DEPTH]
        copies.append(copy)
        current = made
    graph.insert_after(producer, copies)
    return current
