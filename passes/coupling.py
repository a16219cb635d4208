"""Which tensors must share a permutation of channels: the channel-coupling graph.

A space is a set of channels whose order is free: any permutation of it, applied to every weight that has the space
along one of its axes, leaves the network's function as it is. Convolutions and matrix products start a space at their
outputs and end one at their inputs; elementwise operators, pooling, normalisation and concatenation carry spaces
through; residual additions tie two spaces into one. What meets a model's output, an order that is given from outside or
an operator not listed here is fixed. Ties form a graph whose connected components are the spaces in the end.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import networkx as nx
import numpy as np
import numpy.typing as npt
import onnx_ir as ir


@dataclass(frozen=True)
class Member:
    """A constant that has a space along an axis: elements ``offset + channel * repeat + (0 ... repeat - 1)``."""

    value: ir.Value
    axis: int
    offset: int
    repeat: int


@dataclass(frozen=True)
class Space:
    """Channels with a common order.

    Attributes:
        fixed: why the order cannot change; empty if it can.
    """

    size: int
    members: tuple[Member, ...]
    fixed: tuple[str, ...]

    def permute(self, order: npt.NDArray[np.intp]) -> None:
        """Reorders every member: new channel i is old channel ``order[i]``.

        Raises:
            ValueError: the space is fixed, or ``order`` is no permutation of its channels.
        """
        if self.fixed:
            raise ValueError(f"this order is fixed: {self.fixed[0]}")
        if not np.array_equal(np.sort(order), np.arange(self.size)):
            raise ValueError(f"not a permutation of {self.size} channels")
        for member in self.members:
            array = _array(member.value)
            span = (order[:, None] * member.repeat + np.arange(member.repeat)).ravel() + member.offset
            index = np.arange(array.shape[member.axis])
            index[member.offset : member.offset + len(span)] = span
            member.value.const_value = ir.tensor(np.take(array, index, member.axis), name=member.value.name)


def couple(graph: ir.Graph) -> list[Space]:
    """The spaces of a normalised graph: static shapes, constants as initializers."""
    return _Coupling(graph).run()


def _array(value: ir.Value) -> npt.NDArray[np.generic]:
    assert value.const_value is not None
    return value.const_value.numpy()


@dataclass(frozen=True)
class _Segment:
    """Part of an axis: every channel of a space, each ``repeat`` elements wide."""

    space: int
    repeat: int


_Segments = tuple[_Segment, ...]
_Axes = dict[int, _Segments]  # spaces along axes; an axis that is not here keeps its order


@dataclass
class _Coupling:
    graph: ir.Graph
    ties: nx.Graph = field(default_factory=nx.Graph)
    sizes: list[int] = field(default_factory=list)
    members: list[list[Member]] = field(default_factory=list)
    fixed: list[list[str]] = field(default_factory=list)
    axes: dict[ir.Value, _Axes] = field(default_factory=dict)

    def run(self) -> list[Space]:
        for node in self.graph:
            handler = _HANDLERS.get(node.op_type) if node.domain == "" else None
            results = handler(self, node) if handler else None
            if results is None:
                self.fix_inputs(node)
            elif node.outputs:
                self.axes[node.outputs[0]] = {axis: segments for axis, segments in results.items() if segments}
        for value in self.graph.outputs:
            self.fix(value, "it is the order of a model output")
        return [self.space(component) for component in nx.connected_components(self.ties)]

    def space(self, component: set[int]) -> Space:
        ids = sorted(component)
        members = dict.fromkeys(member for index in ids for member in self.members[index])
        reasons = dict.fromkeys(reason for index in ids for reason in self.fixed[index])
        return Space(self.sizes[ids[0]], tuple(members), tuple(reasons))

    # ---- building blocks for the handlers

    def new(self, size: int) -> _Segments:
        index = len(self.sizes)
        self.sizes.append(size)
        self.members.append([])
        self.fixed.append([])
        self.ties.add_node(index)
        return (_Segment(index, 1),)

    def extent(self, segments: _Segments) -> int:
        return sum(self.sizes[segment.space] * segment.repeat for segment in segments)

    def join(self, value: ir.Value, axis: int, segments: _Segments) -> None:
        """A constant has these spaces along an axis."""
        shared = len(value.uses()) > 1 or value.is_graph_output()
        offset = 0
        for segment in segments:
            self.members[segment.space].append(Member(value, axis, offset, segment.repeat))
            offset += self.sizes[segment.space] * segment.repeat
            if shared:
                self.fixed[segment.space].append(f"{value.name} is used more than once")

    def tie(self, first: _Segments, second: _Segments, where: str) -> None:
        same = len(first) == len(second) and all(
            (self.sizes[a.space], a.repeat) == (self.sizes[b.space], b.repeat)
            for a, b in zip(first, second, strict=True)
        )
        if same:
            self.ties.add_edges_from((a.space, b.space) for a, b in zip(first, second, strict=True))
            return
        for segment in (*first, *second):
            self.fixed[segment.space].append(f"{where} joins channels of different grouping")

    def fix(self, value: ir.Value | None, reason: str) -> None:
        for segments in self.axes.get(value, {}).values() if value is not None else ():
            self.fix_segments(segments, reason)

    def fix_segments(self, segments: _Segments, reason: str) -> None:
        for segment in segments:
            self.fixed[segment.space].append(reason)

    def fix_inputs(self, node: ir.Node) -> None:
        for value in node.inputs:
            self.fix(value, f"{node.name} ({node.op_type}) needs the order")

    def of(self, value: ir.Value | None) -> _Axes:
        return self.axes.get(value, {}) if value is not None else {}


def _shape(value: ir.Value | None) -> tuple[int, ...]:
    assert value is not None
    assert value.shape is not None
    return tuple(int(dim) for dim in value.shape)  # type: ignore[arg-type]


def _is_constant(value: ir.Value | None) -> bool:
    return value is not None and value.const_value is not None


# ---- handlers: axes of the first output, or None where the order must stay. Other outputs keep their order.


def _same(c: _Coupling, node: ir.Node) -> _Axes:
    return dict(c.of(node.inputs[0]))


def _channels(c: _Coupling, node: ir.Node) -> _Axes:
    """Operators that work inside each channel of [N, C, ...]."""
    axes = c.of(node.inputs[0])
    for axis in axes:
        if axis > 1:
            c.fix_segments(axes[axis], f"{node.name} ({node.op_type}) works along that axis")
    return {axis: segments for axis, segments in axes.items() if axis <= 1}


def _elementwise(c: _Coupling, node: ir.Node) -> _Axes:
    shape = _shape(node.outputs[0])
    operands = [value for value in node.inputs if value is not None]
    axes: _Axes = {}
    for axis, extent in enumerate(shape):
        known: _Segments = ()
        constants: list[tuple[ir.Value, int]] = []
        ordered = False  # an operand whose order is fixed
        for value in operands:
            own = axis - len(shape) + len(_shape(value))
            if own < 0 or _shape(value)[own] == 1 or extent == 1:
                continue
            segments = c.of(value).get(own, ())
            if _is_constant(value):
                constants.append((value, own))
            elif not segments:
                ordered = True
            elif known:
                c.tie(known, segments, node.name or node.op_type)
            else:
                known = segments
        if not known:
            continue
        if ordered:
            c.fix_segments(known, f"{node.name} ({node.op_type}) combines it with a fixed order")
        for value, own in constants:
            c.join(value, own, known)
        axes[axis] = known
    return axes


def _conv(c: _Coupling, node: ir.Node) -> _Axes | None:
    weight = node.inputs[1]
    groups = node.attributes.get_int("group", 1)
    x = c.of(node.inputs[0])
    if weight is None or not _is_constant(weight) or any(axis > 1 for axis in x):
        return None
    bias = node.inputs[2] if len(node.inputs) > 2 else None
    channels, per_group = _shape(weight)[0], _shape(weight)[1]
    if groups == 1:
        if 1 in x:
            c.join(weight, 1, x[1])
        out = c.new(channels)
    elif per_group == 1 and 1 in x:  # depthwise: channels stay apart
        out = tuple(_Segment(segment.space, segment.repeat * (channels // groups)) for segment in x[1])
    else:
        return None
    c.join(weight, 0, out)
    if bias is not None:
        c.join(bias, 0, out)
    return {0: x.get(0, ()), 1: out}


def _gemm(c: _Coupling, node: ir.Node) -> _Axes | None:
    weight = node.inputs[1]
    if weight is None or not _is_constant(weight) or node.attributes.get_int("transA", 0) != 0:
        return None
    x = c.of(node.inputs[0])
    rows, columns = (0, 1) if node.attributes.get_int("transB", 0) else (1, 0)
    if 1 in x:
        c.join(weight, columns, x[1])
    out = c.new(_shape(weight)[rows])
    c.join(weight, rows, out)
    bias = node.inputs[2] if len(node.inputs) > 2 else None
    if bias is not None and _shape(bias) and _shape(bias)[-1] != 1:
        if not _is_constant(bias):
            c.fix_segments(out, f"{node.name} adds a computed bias")
        else:
            c.join(bias, len(_shape(bias)) - 1, out)
    return {0: x.get(0, ()), 1: out}


def _matmul(c: _Coupling, node: ir.Node) -> _Axes | None:
    x, weight = node.inputs[0], node.inputs[1]
    if weight is None or not _is_constant(weight) or len(_shape(weight)) != 2 or len(_shape(x)) < 2:
        return None
    last = len(_shape(x)) - 1
    axes = dict(c.of(x))
    if last in axes:
        c.join(weight, 0, axes[last])
    axes[last] = c.new(_shape(weight)[1])
    c.join(weight, 1, axes[last])
    return axes


def _norm_parameters(c: _Coupling, node: ir.Node, axis: int) -> _Axes:
    """Normalisation with a parameter a channel along ``axis``."""
    axes = dict(c.of(node.inputs[0]))
    for value in node.inputs[1:]:
        if value is not None and axis in axes and _is_constant(value):
            c.join(value, len(_shape(value)) - 1, axes[axis])
    return axes


def _batch_norm(c: _Coupling, node: ir.Node) -> _Axes:
    return _norm_parameters(c, node, 1)


def _layer_norm(c: _Coupling, node: ir.Node) -> _Axes | None:
    last = len(_shape(node.inputs[0])) - 1
    if node.attributes.get_int("axis", -1) not in (-1, last):
        return None
    return _norm_parameters(c, node, last)


def _concat(c: _Coupling, node: ir.Node) -> _Axes:
    rank = len(_shape(node.outputs[0]))
    along = node.attributes.get_int("axis") % rank
    axes: _Axes = {}
    parts: list[_Segment] = []
    for value in node.inputs:
        segments = c.of(value).get(along, ())
        if not segments:
            segments = c.new(_shape(value)[along])
            c.fix_segments(segments, f"{node.name} (Concat) joins it with a fixed order")
        parts.extend(segments)
    axes[along] = tuple(parts)
    for axis in set(range(rank)) - {along}:
        known = [c.of(value).get(axis, ()) for value in node.inputs]
        if all(known):
            for segments in known[1:]:
                c.tie(known[0], segments, node.name or "Concat")
            axes[axis] = known[0]
        else:
            for segments in known:
                c.fix_segments(segments, f"{node.name} (Concat) combines it with a fixed order")
    return axes


def _reshape(c: _Coupling, node: ir.Node) -> _Axes | None:
    """Flatten and its relatives: channels with everything behind them, or a last axis that stays."""
    before, after = _shape(node.inputs[0]), _shape(node.outputs[0])
    axes: _Axes = {}
    for axis, segments in c.of(node.inputs[0]).items():
        head, tail = math.prod(before[:axis]), math.prod(before[axis + 1 :])
        found = _find_axis(after, head, before[axis], tail)
        if found is None:
            c.fix_segments(segments, f"{node.name} ({node.op_type}) takes the axis apart")
            continue
        goal, repeat = found
        if goal in axes:
            return None
        axes[goal] = tuple(_Segment(segment.space, segment.repeat * repeat) for segment in segments)
    return axes


def _find_axis(shape: Sequence[int], head: int, size: int, tail: int) -> tuple[int, int] | None:
    """The axis that holds the channels after a reshape, and how many elements behind each channel joined it."""
    before = 1
    for axis, extent in enumerate(shape):
        behind = math.prod(shape[axis + 1 :])
        if before == head and extent % size == 0 and extent // size * behind == tail and extent > 1:
            return axis, extent // size
        before *= extent
    return None


def _transpose(c: _Coupling, node: ir.Node) -> _Axes:
    rank = len(_shape(node.inputs[0]))
    order = list(node.attributes.get_ints("perm", tuple(reversed(range(rank)))))
    return {order.index(axis): segments for axis, segments in c.of(node.inputs[0]).items()}


def _reduce(c: _Coupling, node: ir.Node) -> _Axes | None:
    """Reductions do not care for the order along the axes that they reduce; the others are found again by size."""
    before, after = _shape(node.inputs[0]), _shape(node.outputs[0])
    if len(before) != len(after):
        return None
    return {axis: segments for axis, segments in c.of(node.inputs[0]).items() if after[axis] == before[axis]}


def _embedding(c: _Coupling, node: ir.Node) -> _Axes | None:
    table = node.inputs[0]
    if table is None or not _is_constant(table) or len(_shape(table)) != 2 or node.attributes.get_int("axis", 0) != 0:
        return None
    out = c.new(_shape(table)[1])
    c.join(table, 1, out)
    return {len(_shape(node.outputs[0])) - 1: out}


_Handler = Callable[[_Coupling, ir.Node], "_Axes | None"]

_HANDLERS: Mapping[str, _Handler] = {
    "Conv": _conv,
    "Gemm": _gemm,
    "MatMul": _matmul,
    "BatchNormalization": _batch_norm,
    "LayerNormalization": _layer_norm,
    "Concat": _concat,
    **dict.fromkeys(("Flatten", "Reshape", "Squeeze", "Unsqueeze"), _reshape),
    "Transpose": _transpose,
    **dict.fromkeys(("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceL2"), _reduce),
    "Gather": _embedding,
    **dict.fromkeys(("MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "LpPool"), _channels),
    **dict.fromkeys(("Add", "Sub", "Mul", "Div", "Pow", "Max", "Min", "Sum", "PRelu", "Where"), _elementwise),
    **dict.fromkeys(
        (
            *("Relu", "LeakyRelu", "Elu", "Selu", "Celu", "Gelu", "Mish", "Softplus", "Softsign", "ThresholdedRelu"),
            *("Sigmoid", "HardSigmoid", "HardSwish", "Swish", "Tanh", "Erf", "Exp", "Log", "Sqrt", "Reciprocal"),
            *("Abs", "Neg", "Floor", "Ceil", "Round", "Clip", "Cast", "Identity", "Dropout", "Softmax", "LogSoftmax"),
        ),
        _same,
    ),
}
