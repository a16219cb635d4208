"""Which activations integer layers need quantized, and where on the way to them: the plan of quantize_activations.py.

1. Linear layers (Conv, Gemm, MatMul ...) become integer layers where the rule gives them a depth.
2. Additions, concatenations, average pooling and pointwise functions join them where all their operands come from
   integer layers. So a residual stream between float layers, as in transformers, stays float, and preprocessing too.
   An addition of a constant to a MatMul is that layer's bias: nothing is quantized between the two.
3. Max pooling and what only moves data is passed through: the same quantizer on both sides.
4. Relu and Clip in front of a quantizer may become redundant: it saturates. Then the quantizer takes their place.
5. Where a depth for results is given, those of linear layers that float layers read are quantized, too; and what stands
   for a group is quantized for all its readers where it is made from integers (activation_results.py).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import onnx_ir as ir

from tilewright.passes.activation_results import leaving, made_of_integers

Rule = Callable[[ir.Node], "int | None"]

LINEAR = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
JOINING = frozenset(
    {"Add", "Sub", "Mul", "Concat", "AveragePool", "GlobalAveragePool", "Resize"}
    | {"Sigmoid", "Tanh", "HardSigmoid", "HardSwish", "LeakyRelu", "PRelu", "Elu"}
)
MOVING = frozenset(
    {"MaxPool", "GlobalMaxPool", "Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze", "Slice", "Expand", "Tile"}
    | {"DepthToSpace", "SpaceToDepth", "Identity"}
)
CLAMPS = frozenset({"Relu", "Clip"})


@dataclass(frozen=True)
class Fallback:
    """A layer whose activations stay float, and why."""

    layer: str
    reason: str


@dataclass
class Group:
    """Values that share a quantizer.

    Attributes:
        root: the value whose distribution decides.
        values: the root and what only moves its data, down to the operands of integer layers.
        above: values over the root that lead to it alone, nearest first; some clamps lie in between.
        users: integer layers that read any of the values.
        stored: the root is made by an integer layer, so that everybody sees it quantized.
        bits: of the deepest user.
        maker: of a result that no integer layer reads, the linear layer; None for all others.
    """

    root: ir.Value
    stored: bool
    above: tuple[ir.Value, ...]
    values: list[ir.Value] = field(default_factory=list)
    users: list[ir.Node] = field(default_factory=list)
    bits: int = 0
    maker: ir.Node | None = None


@dataclass
class Plan:
    """The integer layers with their depths in graph order, and the groups of values that they read."""

    layers: dict[ir.Node, int]
    groups: list[Group]
    integer: set[ir.Value]


def make_plan(
    graph: ir.Graph,
    rule: Rule,
    refused: frozenset[ir.Node] | set[ir.Node] = frozenset(),
    results: int | None = None,
) -> Plan:
    """Decides for a normalised graph; ``refused`` layers stay float whatever the rule says.

    ``results`` is the depth of what float layers read of linear ones, None for float.
    """
    active = active_values(graph)
    layers: dict[ir.Node, int] = {}
    integer: set[ir.Value] = set()  # made by integer layers
    for node in graph:
        if node.domain != "" or not node.outputs or node.outputs[0] not in active:
            continue
        operands = _operands(node, active)
        from_integers = bool(operands) and all(value in integer for value in operands)
        linear = node.op_type in LINEAR
        if (linear or (node.op_type in JOINING and from_integers)) and _is_bias(node, active, layers):
            integer.add(node.outputs[0])
        elif linear or (node.op_type in JOINING and from_integers and _all_active(node, active)):
            bits = rule(node) if node not in refused else None
            if bits is not None and operands:
                layers[node] = bits
                integer.add(node.outputs[0])
        elif node.op_type in MOVING | CLAMPS and from_integers:
            integer.add(node.outputs[0])
    groups = _groups(layers, active, integer)
    if results is not None:
        made = made_of_integers(graph, active, integer)
        for group in groups:
            group.stored = group.root in made
        quantized = {value for group in groups for value in group.values if group.stored or _read_alone(value, layers)}
        linear_layers = [node for node in layers if node.op_type in LINEAR]
        for node, value in leaving(graph, linear_layers, active, quantized):
            groups.append(Group(value, True, (), [value], bits=results, maker=node))
    return Plan(layers, groups, integer)


def candidates(graph: ir.Graph) -> list[ir.Node]:
    """The layers that a rule may be asked about, in graph order."""
    return list(make_plan(graph, lambda node: 8).layers)


def active_values(graph: ir.Graph) -> set[ir.Value]:
    """The values that depend on the model's inputs; all others are constants, however they are computed."""
    active = set(graph.inputs)
    for node in graph:
        if any(value in active for value in node.inputs if value is not None):
            active.update(node.outputs)
    return active


def is_integer_use(node: ir.Node, index: int, plan: Plan) -> bool:
    """Whether a use reads integers: a layer's operand, or what moves data for one."""
    return node in plan.layers and index < (2 if node.op_type in LINEAR else len(node.inputs))


def _operands(node: ir.Node, active: set[ir.Value]) -> list[ir.Value]:
    """What a layer computes with; not its bias, and no shapes."""
    if node.op_type in LINEAR:
        inputs = node.inputs[:2]
    elif node.op_type in ("Add", "Sub", "Mul", "Concat"):
        inputs = node.inputs
    else:
        inputs = node.inputs[:1]
    return list(dict.fromkeys(value for value in inputs if value is not None and value in active))


def _all_active(node: ir.Node, active: set[ir.Value]) -> bool:
    """No constant operand: integer kernels would need it quantized too."""
    return node.op_type not in ("Add", "Sub", "Mul", "Concat") or all(value in active for value in node.inputs)


def _is_bias(node: ir.Node, active: set[ir.Value], layers: dict[ir.Node, int]) -> bool:
    if node.op_type != "Add":
        return False
    known = [value for value in node.inputs if value is not None and value in active]
    if len(known) != 1:
        return False
    producer = known[0].producer()
    return producer in layers and producer.op_type == "MatMul" and _single(known[0])


def _single(value: ir.Value) -> bool:
    return len(value.uses()) == 1 and not value.is_graph_output()


def _read_alone(value: ir.Value, layers: dict[ir.Node, int]) -> bool:
    """Whether integer layers are all that reads a value."""
    return all(use.node in layers for use in value.uses()) and not value.is_graph_output()


def _groups(layers: dict[ir.Node, int], active: set[ir.Value], integer: set[ir.Value]) -> list[Group]:
    groups: dict[ir.Value, Group] = {}
    for node, bits in layers.items():
        for operand in _operands(node, active):
            path = _up(operand, integer, MOVING, lambda value: True)
            root = path[-1]
            if root not in groups:
                above = _up(root, integer, MOVING | CLAMPS, _single)[1:]
                groups[root] = Group(root, root in integer, tuple(above))
            group = groups[root]
            group.values += [value for value in path if value not in group.values]
            group.users.append(node)
            group.bits = max(group.bits, bits)
    return list(groups.values())


def _up(
    value: ir.Value, integer: set[ir.Value], through: frozenset[str], allowed: Callable[[ir.Value], bool]
) -> list[ir.Value]:
    """The value and those above it, as long as integer layers' results are moved to it."""
    path = [value]
    while True:
        producer = path[-1].producer()
        if producer is None or producer.domain != "" or producer.op_type not in through:
            return path
        source = producer.inputs[0]
        if source is None or source not in integer or not allowed(source):
            return path
        path.append(source)
