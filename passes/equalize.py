"""Cross-layer equalisation: rescales channels between layers so that a tensor's channels have similar ranges.

Nagel et al. 2019, "Data-Free Quantization Through Weight Equalization and Bias Correction" (arXiv:1906.04721), section
4.1: where only positively homogeneous operators (Relu, pooling, data movement) lie between layers, channel i of what
makes a tensor may be divided by s_i and what reads it multiplied. s_i = sqrt(r1_i / r2_i) gives both the same range,
where r1_i and r2_i are the largest magnitudes in a channel's weights on either side.

The channels come from the coupling graph, so residual additions, depthwise convolutions, concats and flattens take
part. Factors are powers of two: the scaled network computes the same numbers bit for bit, as long as none of them
leaves float32's normal range, and ranges still end up within a factor of two of each other.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from tilewright.passes.coupling import Member, Space, couple

Array = npt.NDArray[Any]

_HOMOGENEOUS = frozenset(
    {"Relu", "LeakyRelu", "MaxPool", "GlobalMaxPool", "AveragePool", "GlobalAveragePool", "Identity", "Abs"}
    | {"Add", "Sub", "Neg", "Sum", "Concat", "Flatten", "Reshape", "Squeeze", "Unsqueeze", "Transpose"}
)
_SHIFTS = frozenset({"Add", "Sub", "Sum"})
_FACTORS = frozenset({"Mul", "Div", "PRelu"})  # by a constant second operand
_LAYERS = frozenset({"Conv", "Gemm", "MatMul"})
_SWEEPS = 20
_LIMIT = 2.0**12  # of one channel's factor


@dataclass(frozen=True)
class EqualizedLayers:
    """Layers around common channels.

    Attributes:
        writers, readers: names of the layers that make and that read these channels.
        before, after: the spread of the channels' ranges in the writers' weights: largest over median.
        reason: why they stay as they are; empty if they were equalised.
    """

    writers: tuple[str, ...]
    readers: tuple[str, ...]
    before: float
    after: float
    reason: str = ""


@dataclass(frozen=True)
class _Channels:
    """Constants that scale with a space's channels.

    Attributes:
        made: weights whose output channels these are; divided by s.
        read: weights whose input channels these are; multiplied.
        moved: biases and added constants; divided.
        others: nodes that use constants of these channels in another way; empty where they can be scaled.
    """

    size: int
    made: tuple[Member, ...]
    read: tuple[Member, ...]
    moved: tuple[Member, ...]
    others: tuple[ir.Node, ...]


class Equalize(ir.passes.InPlacePass):
    """Equalises a normalised model.

    Attributes:
        layers: filled by the pass: one entry for each set of channels that layers share, refused ones included.
    """

    def __init__(self) -> None:
        super().__init__()
        self.layers: list[EqualizedLayers] = []

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        order = {node: place for place, node in enumerate(model.graph)}
        work: list[tuple[_Channels, float]] = []
        for space in couple(model.graph):
            channels = _sort(space)
            if not channels.made or not channels.read:
                continue
            reason = _obstacle(space, channels)
            if reason:
                spread = _spread(channels)
                self.layers.append(EqualizedLayers(*_names(channels), spread, spread, reason))
            else:
                work.append((channels, _spread(channels)))
        work.sort(key=lambda item: min(order[node] for node in _users(item[0].made)))
        for _ in range(_SWEEPS):
            if not any([_equalize(channels) for channels, _ in work]):
                break
        for channels, before in work:
            self.layers.append(EqualizedLayers(*_names(channels), before, _spread(channels)))
        return ir.passes.PassResult(model, bool(work))


def _sort(space: Space) -> _Channels:
    """Members by what they are to the channels. Weights of depthwise convolutions follow them as they are."""
    made: list[Member] = []
    read: list[Member] = []
    moved: list[Member] = []
    others: list[ir.Node] = []
    for member in space.members:
        for use in member.value.uses():
            node = use.node
            if node.op_type in _LAYERS and use.idx == 2:
                moved.append(member)
            elif node.op_type in _LAYERS and not _is_depthwise(node):
                (made if member.axis == _output_axis(node) else read).append(member)
            elif node.op_type in _SHIFTS:
                moved.append(member)
            elif not _is_depthwise(node) and not (node.op_type in _FACTORS and use.idx == 1):
                others.append(node)
    return _Channels(space.size, tuple(made), tuple(read), tuple(moved), tuple(others))


def _is_depthwise(node: ir.Node) -> bool:
    return node.op_type == "Conv" and node.attributes.get_int("group", 1) > 1


def _output_axis(node: ir.Node) -> int:
    if node.op_type == "Conv":
        return 0
    return 0 if node.op_type == "Gemm" and node.attributes.get_int("transB", 0) != 0 else 1


def _users(members: Iterable[Member]) -> list[ir.Node]:
    return [use.node for member in members for use in member.value.uses()]


def _names(channels: _Channels) -> tuple[tuple[str, ...], tuple[str, ...]]:
    made, read = (tuple(node.name or "" for node in _users(side)) for side in (channels.made, channels.read))
    return made, read


def _obstacle(space: Space, channels: _Channels) -> str:
    """Why these channels cannot be scaled; empty if they can."""
    if space.fixed:
        return space.fixed[0]
    if channels.others:
        return f"{channels.others[0].name} ({channels.others[0].op_type}) has constants of these channels"
    readers = set(_users(channels.read))
    moved = {member.value for member in channels.moved}
    for node in _users(channels.made):
        if len(node.inputs) > 2 and node.inputs[2] is not None and node.inputs[2] not in moved:
            return f"{node.name} has a bias that is not one number a channel"
    seen: set[ir.Node] = set()
    ahead = [node.outputs[0] for node in _users(channels.made)]
    while ahead:
        for use in ahead.pop().uses():
            node = use.node
            if node not in readers and node not in seen:
                seen.add(node)
                reason = _why_not_through(node, moved)
                if reason:
                    return reason
                ahead.extend(node.outputs)
    return ""


def _why_not_through(node: ir.Node, moved: set[ir.Value]) -> str:
    constants = [value for value in node.inputs if value is not None and value.const_value is not None]
    if node.domain == "" and _is_depthwise(node):
        return f"{node.name} has a bias of another order" if any(v not in moved for v in constants[1:]) else ""
    if node.domain == "" and node.op_type in _FACTORS and node.inputs[1] in constants:
        return ""
    if node.domain != "" or node.op_type not in _HOMOGENEOUS:
        return f"{node.name} ({node.op_type}) does not scale with its input"
    if node.op_type in (*_SHIFTS, "Concat") and any(value not in moved for value in constants):
        return f"{node.name} ({node.op_type}) has a constant that is not one number a channel"
    return ""


def _ranges(members: Iterable[Member], size: int) -> Array:
    """The largest magnitude of each channel over all members, float64 [size]."""
    largest = np.zeros(size)
    for member in members:
        assert member.value.const_value is not None
        array = np.abs(np.moveaxis(member.value.const_value.numpy(), member.axis, 0))
        flat = array[member.offset : member.offset + size * member.repeat].reshape(size, -1)
        largest = np.maximum(largest, flat.max(axis=1))
    return largest


def _spread(channels: _Channels) -> float:
    ranges = _ranges(channels.made, channels.size)
    used = ranges[ranges > 0]
    return float(used.max() / np.median(used)) if used.size else 1.0


def _equalize(channels: _Channels) -> bool:
    """One step; whether anything moved."""
    first, second = _ranges(channels.made, channels.size), _ranges(channels.read, channels.size)
    usable = (first > 0) & (second > 0)
    ratio = np.where(usable, first, 1.0) / np.where(usable, second, 1.0)
    factor = np.exp2(np.rint(np.log2(np.clip(ratio, _LIMIT**-2, _LIMIT**2)) / 2))
    if (factor == 1).all():
        return False
    for members, scale in ((channels.made, 1 / factor), (channels.moved, 1 / factor), (channels.read, factor)):
        for member in members:
            _scale(member, scale)
    return True


def _scale(member: Member, factor: Array) -> None:
    assert member.value.const_value is not None
    array = member.value.const_value.numpy().copy()
    moved = np.moveaxis(array, member.axis, 0)
    span = slice(member.offset, member.offset + len(factor) * member.repeat)
    repeated = np.repeat(factor, member.repeat).reshape(-1, *[1] * (array.ndim - 1))
    moved[span] = (moved[span] * repeated).astype(array.dtype)
    member.value.const_value = ir.tensor(array, name=member.value.name)
