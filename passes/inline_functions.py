"""Replaces operators that the importer lacks by function bodies: the model's own, or those of the ONNX standard."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import onnx
import onnx_ir as ir
from onnx_ir.passes.common import InlinePass

from tilewright.passes.infer_shapes import InferShapes

_DEPTH = 8  # bodies within bodies in the ONNX standard are at most three deep


class InlineFunctions(ir.passes.InPlacePass):
    """Rules:

    1. A call of a function of the model is inlined, unless ``keep`` knows the operator.
    2. An operator of the standard that ``keep`` does not know, and that has a function body at the model's opset, is
       inlined; inferred types choose the body where it depends on them.
    3. Both are repeated on what was inlined.
    """

    def __init__(self, keep: Callable[[ir.Node], bool]) -> None:
        super().__init__()
        self.keep = keep

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        kept = {node.op_identifier() for graph in model.graphs() for node in graph if self.keep(node)}
        modified = False
        for _ in range(_DEPTH):
            bound = self._bind_standard_bodies(model)
            step = InlinePass(criteria=lambda function: function.identifier() not in kept)(model)
            modified |= step.modified
            if not bound and not step.modified:
                break
        return ir.passes.PassResult(model, modified)

    def _bind_standard_bodies(self, model: ir.Model) -> bool:
        """Registers the standard body of each such node as a function of the model that this node alone calls."""
        nodes = [node for node in model.graph.all_nodes() if self._wanted(node, model)]
        if any(not schema.has_function for node in nodes if (schema := _schema(node, model.opset_imports))):
            InferShapes()(model)  # the choice of a body needs types
        for node in nodes:
            function = _standard_body(node, model.opset_imports)
            if function is not None:
                node.overload = function.overload
                model.functions[function.identifier()] = function
        return bool(nodes)

    def _wanted(self, node: ir.Node, model: ir.Model) -> bool:
        if self.keep(node) or node.op_identifier() in model.functions or _has_graphs(node):
            return False
        schema = _schema(node, model.opset_imports)
        return schema is not None and (schema.has_function or schema.has_context_dependent_function)


def _has_graphs(node: ir.Node) -> bool:
    return any(a.type in (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS) for a in node.attributes.values())


def _schema(node: ir.Node, opsets: Mapping[str, int]) -> Any:  # OpSchema | None, whose stub lacks function bodies
    try:
        return onnx.defs.get_schema(node.op_type, opsets.get(node.domain, 1), node.domain)
    except onnx.defs.SchemaError:
        return None


def _standard_body(node: ir.Node, opsets: Mapping[str, int]) -> ir.Function | None:
    schema = _schema(node, opsets)
    assert schema is not None
    opset = opsets.get("", 1)
    for name, attribute in schema.attributes.items():
        if name not in node.attributes and attribute.default_value.type:
            node.attributes[name] = ir.serde.deserialize_attribute(attribute.default_value)
    if schema.has_function:
        versions = [version for version in schema.function_opset_versions if version <= opset]
        body = schema.get_function_with_opset_version(max(versions)) if versions else b""
    else:
        versions = [version for version in schema.context_dependent_function_opset_versions if version <= opset]
        types = [onnx.TypeProto() if value is None else ir.to_proto(value).type for value in node.inputs]
        body = (
            schema.get_context_dependent_function_with_opset_version(
                max(versions), ir.to_proto(node).SerializeToString(), [t.SerializeToString() for t in types]
            )
            if versions
            else b""
        )
    if not body:
        return None
    proto = onnx.FunctionProto.FromString(body)
    _complete_outputs(proto, len(node.outputs))
    for inner in proto.node:
        inner.name = f"{node.name}/{inner.op_type}"  # errors and profiles then speak of the model's own layer
    proto.overload = f"{node.name}_body"
    function: ir.Function = ir.serde.deserialize_function(proto)
    function.graph.opset_imports.clear()
    function.graph.opset_imports.update(opsets)
    return function


def _complete_outputs(body: onnx.FunctionProto, count: int) -> None:
    """A body need not compute outputs that its node leaves out: cuts them off, and fills gaps with an unused zero."""
    del body.output[count:]
    produced = {name for node in body.node for name in node.output} | set(body.input)
    for name in body.output:
        if name not in produced:
            body.node.append(onnx.helper.make_node("Constant", [], [name], value_float=0.0))
