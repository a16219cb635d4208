"""Expressions of single elements: operators between one tensor and one result, which are one function together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx
import onnx_ir as ir
from numpy.typing import NDArray
from onnx.reference import ReferenceEvaluator

from tilewright.frontend.quantized.values import Unfit, constant
from tilewright.passes.activation_results import ELEMENTWISE

_MOST_NODES = 32


@dataclass(frozen=True)
class Expression:
    """A function of single elements of one tensor.

    Attributes:
        leaf: the tensor.
        nodes: in the order of execution; the last one makes the result.
    """

    leaf: ir.Value
    nodes: tuple[ir.Node, ...]

    @property
    def inner(self) -> frozenset[ir.Node]:
        """The nodes before the last that nobody else needs."""
        needed: set[ir.Node] = {self.nodes[-1]}
        dead: set[ir.Node] = set()
        for node in reversed(self.nodes[:-1]):
            users = {use.node for use in node.outputs[0].uses()}
            if users <= needed | dead and not node.outputs[0].is_graph_output():
                dead.add(node)
        return frozenset(dead)

    @property
    def alone(self) -> bool:
        """Whether only these nodes read the leaf, and nobody else any result but the last."""
        users = {use.node for use in self.leaf.uses()}
        mine = users <= set(self.nodes) and not self.leaf.is_graph_output()
        return mine and len(self.inner) == len(self.nodes) - 1

    def __call__(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """By ONNX's own definition of the operators.

        Args:
            x: shape (n,).
        """
        graph = self.nodes[0].graph
        opset = max(graph.opset_imports.get("", 1), 1) if isinstance(graph, ir.Graph) else 17
        constants = {}
        for node in self.nodes:
            for value in node.inputs:
                array = constant(value)
                if value is not None and array is not None:
                    constants[str(value.name)] = array.reshape(())
        protos = [ir.serde.serialize_node(node) for node in self.nodes]
        float32 = onnx.TensorProto.FLOAT
        input_ = onnx.helper.make_tensor_value_info(str(self.leaf.name), float32, None)
        output = onnx.helper.make_tensor_value_info(protos[-1].output[0], float32, None)
        initializers = [onnx.numpy_helper.from_array(array, name) for name, array in constants.items()]
        body = onnx.helper.make_graph(protos, "function", [input_], [output], initializers)
        model = onnx.helper.make_model(body, opset_imports=[onnx.helper.make_opsetid("", opset)])
        with np.errstate(all="ignore"):
            (y,) = ReferenceEvaluator(model).run(None, {str(self.leaf.name): x.astype(np.float32)})
        result: NDArray[np.float32] = np.asarray(y, np.float32)
        return result


def _uniform(node: ir.Node) -> bool:
    """Whether a node does the same to every element."""
    sizes = [array.size for array in map(constant, node.inputs) if array is not None]
    return node.domain == "" and node.op_type in ELEMENTWISE and all(size == 1 for size in sizes)


def expression(node: ir.Node) -> Expression:
    """What a node computes, back to the one tensor that all its operands come from.

    Raises:
        Unfit: there are several, or a constant differs by element.
    """
    order: dict[ir.Node, None] = {}
    leaves: dict[ir.Value, None] = {}

    entered: set[ir.Node] = set()

    def visit(current: ir.Node) -> None:
        if len(entered) >= _MOST_NODES:
            raise Unfit("expression is too long")
        entered.add(current)
        for value in current.inputs:
            if value is None:
                continue
            array = constant(value)
            if array is not None:
                if array.size != 1:
                    raise Unfit("parameters differ by channel")
                continue
            producer = value.producer()
            if producer is not None and _uniform(producer):
                if producer not in order:
                    visit(producer)
            else:
                leaves[value] = None
        order[current] = None

    visit(node)
    if len(leaves) != 1:
        raise Unfit("operands are not quantized")
    (leaf,) = leaves
    shapes = {tuple(value.shape.numpy()) for value in (leaf, node.outputs[0]) if value.shape is not None}
    if len(shapes) != 1:
        raise Unfit("operands broadcast")
    return Expression(leaf, tuple(order))
