"""Results of integer layers that leave for float ones: where to quantize them, so that fewer bits leave.

An accelerator gives the host 32-bit sums where a layer's result is not quantized. Functions of single elements and
means do not count as a way out: an accelerator computes these too, if only a quantizer follows.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

import onnx_ir as ir

ELEMENTWISE = (
    *("Sigmoid", "Tanh", "HardSigmoid", "HardSwish", "LeakyRelu", "Elu", "Gelu", "Softplus", "Mish", "Exp", "Relu"),
    *("Clip", "Neg", "Abs", "Sqrt", "Reciprocal", "Erf", "Log", "Add", "Sub", "Mul", "Div", "Pow", "Min", "Max"),
)
"""Operators that compute each element of their result from one of each operand."""

_INNER = frozenset({*ELEMENTWISE, "AveragePool", "GlobalAveragePool"})


def made_of_integers(graph: ir.Graph, active: Collection[ir.Value], integer: Collection[ir.Value]) -> set[ir.Value]:
    """The values that such functions alone lie between and integer layers' results, these included.

    Args:
        active: the values that are not constant.
        integer: what integer layers make.
    """
    found = set(integer)
    for node in graph:
        operands = [value for value in node.inputs if value is not None and value in active]
        if _is_inner(node, active) and operands and all(value in found for value in operands):
            found.update(node.outputs)
    return found


def leaving(
    graph: ir.Graph, layers: Iterable[ir.Node], active: Collection[ir.Value], quantized: Collection[ir.Value]
) -> list[tuple[ir.Node, ir.Value]]:
    """Layers with results that somebody reads unquantized, by more than such functions; results of the model stay.

    Args:
        layers: linear layers, in graph order; a constant that is added belongs to a layer.
        active: as above.
        quantized: values that everybody reads quantized.
    """
    stays: dict[ir.Value, bool] = {}
    for node in reversed(graph):
        for value in node.outputs:
            users = [use.node for use in value.uses()]
            stays[value] = value in quantized or (
                bool(users)
                and not value.is_graph_output()
                and all(_is_inner(user, active) and stays[user.outputs[0]] for user in users)
            )
    found = []
    for layer in layers:
        value = _with_bias(layer, active)
        if not stays[value] and not value.is_graph_output():
            found.append((layer, value))
    return found


def _is_inner(node: ir.Node, active: Collection[ir.Value]) -> bool:
    constants = [value for value in node.inputs if value is not None and value not in active]
    scalar = all(value.const_value is not None and value.const_value.size == 1 for value in constants)
    return node.domain == "" and node.op_type in _INNER and scalar


def _with_bias(layer: ir.Node, active: Collection[ir.Value]) -> ir.Value:
    value = layer.outputs[0]
    users = [use.node for use in value.uses()]
    if len(users) != 1 or value.is_graph_output() or users[0].op_type != "Add" or users[0].domain != "":
        return value
    return users[0].outputs[0] if any(other not in active for other in users[0].inputs) else value
