"""Gives every node and value a unique, stable name: reports, errors and golden texts rely on it."""

from __future__ import annotations

import onnx_ir as ir
from onnx_ir.passes.common import NameFixPass


class _Names:
    """An unnamed node is named after its operator, an unnamed value after its node."""

    def generate_node_name(self, node: ir.Node) -> str:
        return node.name or node.op_type

    def generate_value_name(self, value: ir.Value) -> str:
        producer = value.producer()
        return value.name or (f"{producer.name or producer.op_type}_{value.index()}" if producer else "value")


class NameNodes(ir.passes.InPlacePass):
    """Names of graph inputs and outputs are kept."""

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        return ir.passes.PassResult(model, NameFixPass(_Names())(model).modified)
