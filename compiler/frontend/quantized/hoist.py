"""Quantizers before operators that only pick or move elements, so that these run on integers.

``Q(MaxPool(x)) = MaxPool(Q(x))`` exactly, as quantizers are monotone; likewise for views and clamps of one tensor.
"""

from __future__ import annotations

import onnx_ir as ir

from tilewright.frontend.quantized.moves import VIEWS
from tilewright.frontend.quantized.values import DEPTH

_PICKS = ("MaxPool", *VIEWS)
_DEQUANTIZE = "DequantizeLinear"


def hoist(graph: ir.Graph) -> None:
    """Puts a copy of each such quantizer, and of the clamp in front of it, before the operator that it follows."""
    for node in reversed(list(graph)):
        value = node.inputs[0] if node.inputs else None
        if node.op_type not in _PICKS or node.domain != "" or value is None or len(list(value.uses())) != 1:
            continue
        producer = value.producer()
        if producer is None or producer.op_type == _DEQUANTIZE or value.is_graph_output():
            continue
        chain = _quantizer(node.outputs[0])
        if chain:
            _copy(graph, node, value, producer, chain)


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


def _copy(graph: ir.Graph, node: ir.Node, value: ir.Value, producer: ir.Node, chain: list[ir.Node]) -> None:
    copies, current = [], value
    for link in chain:
        label = f"{link.name or link.op_type}/before {node.name or node.op_type}"
        copy = ir.Node("", link.op_type, [current, *link.inputs[1:]], list(link.attributes.values()), name=label)
        made, old = copy.outputs[0], link.outputs[0]
        made.name, made.shape, made.type = f"{old.name}/before {value.name}", value.shape, old.type
        if DEPTH in old.meta:
            made.meta[DEPTH] = old.meta[DEPTH]
        copies.append(copy)
        current = made
    node.replace_input_with(0, current)
    graph.insert_after(producer, copies)
