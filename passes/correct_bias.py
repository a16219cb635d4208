"""Moves biases so that the mean of every output channel is what it was before weights were quantized.

Empirical bias correction (Nagel et al. 2019, "Data-Free Quantization Through Weight Equalization and Bias Correction",
arXiv:1906.04721, section 4.2): for inputs x of the float network, E[W_q x] - E[W x] = E[(W_q - W) x] is subtracted from
the bias. Every layer is seen with the float network's own inputs, so one run over the samples serves all layers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from tilewright.errors import DataError
from tilewright.passes.activation_plan import active_values
from tilewright.passes.add_constant import add_constant
from tilewright.passes.execution import Feed, runner

Array = npt.NDArray[Any]

_LAYERS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
_AXES_ARE_INPUTS = 18  # opset from which ReduceMean has its axes as an input


@dataclass(frozen=True)
class CorrectedLayer:
    """What was done to one layer.

    Attributes:
        shift: root mean square over output channels of the mean error that was removed, in units of the output.
        spread: root mean square of the float layer's own outputs without bias, in the same units.
    """

    layer: str
    shift: float
    spread: float


class CorrectBias(ir.passes.InPlacePass):
    """Corrects the layers whose weights differ from those of the float model; layers are matched by name.

    A layer without a bias gets one, unless an addition of a constant follows, which is moved then; after a MatMul it is
    an addition.

    Attributes:
        layers: filled by the pass, in graph order.
    """

    def __init__(self, reference: ir.Model, feeds: Iterable[Feed]) -> None:
        """
        Args:
            reference: the normalised float model; its layers have constant weights.
            feeds: calibration data.
        """
        super().__init__()
        self.reference = reference
        self.feeds = feeds
        self.layers: list[CorrectedLayer] = []

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """
        Raises:
            DataError: there are no calibration data.
            ModelError: onnxruntime cannot run the reference.
        """
        differences = _differences(model, self.reference)
        if not differences:
            return ir.passes.PassResult(model, False)
        errors, spreads = _mean_errors(self.reference, differences, self.feeds)
        for node in list(model.graph):
            name = node.name or ""
            if name in errors and errors[name].any():
                shift_bias(model.graph, node, -errors[name])
                shift = float(np.sqrt(np.mean(np.square(errors[name]))))
                self.layers.append(CorrectedLayer(name, shift, spreads[name]))
        return ir.passes.PassResult(model, bool(self.layers))


class ShiftBiases(ir.passes.InPlacePass):
    """Adds to the output channels of layers what another pass found (round_sequence.py)."""

    def __init__(self, shifts: Mapping[str, Array]) -> None:
        """``shifts``: [output channels] by layer."""
        super().__init__()
        self.shifts = shifts

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        layers = [node for node in model.graph if node.name in self.shifts]
        for node in layers:
            shift_bias(model.graph, node, self.shifts[node.name or ""])
        return ir.passes.PassResult(model, bool(layers))


def _differences(model: ir.Model, reference: ir.Model) -> dict[str, Array]:
    """W_q - W by layer, where it is not zero."""
    active = active_values(model.graph)
    floats = {node.name: node for node in reference.graph if _weight(node) is not None}
    weights: dict[str, ir.Value] = {}
    for node in model.graph:
        value = node.inputs[1] if node.op_type in _LAYERS and node.domain == "" else None
        if value is not None and value not in active and node.name in floats:
            weights[node.name or ""] = value
    now = _constants(model, list(weights.values()))
    found = {}
    for name, value in weights.items():
        before = _weight(floats[name])
        assert before is not None
        after = now[value.name or ""]
        if after.shape == before.shape and not np.array_equal(after, before):
            found[name] = after.astype(np.float32) - before.astype(np.float32)
    return found


def _weight(node: ir.Node) -> Array | None:
    """The constant weight of a layer: [output channels, ...], or a matrix on the right of a product."""
    value = node.inputs[1] if node.op_type in _LAYERS and node.domain == "" else None
    if value is None or value.const_value is None or value.const_value.dtype != ir.DataType.FLOAT:
        return None
    array = value.const_value.numpy()
    return array if node.op_type != "MatMul" or array.ndim == 2 else None


def _constants(model: ir.Model, values: list[ir.Value]) -> dict[str, Array]:
    """Values that depend on no input, as they are or as onnxruntime computes them."""
    found = {value.name or "": value.const_value.numpy() for value in values if value.const_value is not None}
    computed = [value.name or "" for value in values if value.const_value is None]
    if computed:
        found.update(runner(model, computed)({}))
    return found


def _mean_errors(
    reference: ir.Model, differences: Mapping[str, Array], feeds: Iterable[Feed]
) -> tuple[dict[str, Array], dict[str, float]]:
    """E[(W_q - W) x] of every output channel, and the root mean square of W x."""
    model = reference.clone()
    opset = model.opset_imports.get("", 1)
    layers = [node for node in model.graph if node.name in differences]
    probes: dict[str, tuple[str, str]] = {}
    for node in layers:
        name = node.name or ""
        rank = len(node.outputs[0].shape or ())
        channel = 1 if node.op_type in ("Conv", "ConvTranspose") else rank - 1
        axes = [axis for axis in range(rank) if axis != channel]
        change = add_constant(model.graph, f"{name}/difference", differences[name])
        ends = []
        for weight, square in ((change, False), (node.inputs[1], True)):
            layer = ir.node(node.op_type, [node.inputs[0], weight], node.attributes, name=f"{name}/{square}")
            parts = [layer]
            if square:
                parts.append(ir.node("Mul", [layer.outputs[0], layer.outputs[0]], name=f"{name}/square"))
            ends.append(_mean(model.graph, parts[-1].outputs[0], [*axes, channel] if square else axes, opset))
            parts.append(ends[-1])
            for place, part in enumerate(parts):
                part.outputs[0].name = f"{name}/{square}/{place}"
                part.outputs[0].type = ir.TensorType(ir.DataType.FLOAT)
            model.graph.insert_after(node, parts)
        probes[name] = (ends[0].outputs[0].name or "", ends[1].outputs[0].name or "")
    run = runner(model, [probe for pair in probes.values() for probe in pair])
    totals: dict[str, Array] = {}
    count = 0
    for feed in feeds:
        count += 1
        for probe, value in run(feed).items():
            totals[probe] = totals.get(probe, 0) + value.astype(np.float64).ravel()
    if not count:
        raise DataError("there is no calibration data; give at least one sample")
    means = {name: totals[pair[0]] / count for name, pair in probes.items()}
    return means, {name: float(np.sqrt(totals[pair[1]].item() / count)) for name, pair in probes.items()}


def _mean(graph: ir.Graph, value: ir.Value, axes: list[int], opset: int) -> ir.Node:
    if opset < _AXES_ARE_INPUTS:
        return ir.node("ReduceMean", [value], {"axes": sorted(axes), "keepdims": 0})
    name = f"axes_{'_'.join(map(str, sorted(axes)))}/reduce"
    given = graph.initializers.get(name) or add_constant(graph, name, np.array(sorted(axes), np.int64))
    return ir.node("ReduceMean", [value, given], {"keepdims": 0})


def shift_bias(graph: ir.Graph, node: ir.Node, change: Array) -> None:
    """Adds to every output channel of a layer: to its bias, or by a new one. ``change``: [output channels]."""
    place, addition = 2, _addition(node)
    if node.op_type == "MatMul":
        if addition is None:
            return _add_after(graph, node, change)
        node, place = addition
    elif addition is not None and (len(node.inputs) < 3 or node.inputs[2] is None):
        bias = addition[0].inputs[addition[1]]
        shape = tuple(bias.const_value.shape.numpy()) if bias is not None and bias.const_value is not None else ()
        if _is_of_channels(shape, change.size, len(node.outputs[0].shape or ())):
            node, place = addition
            change = change.reshape(shape)
    scale = node.attributes.get_float("beta", 1.0) if node.op_type == "Gemm" else 1.0
    old = node.inputs[place] if len(node.inputs) > place else None
    if old is not None and (old.const_value is None or scale == 0):
        return _add_after(graph, node, change)
    shift = change / scale if scale else change
    before = old.const_value.numpy() if old is not None and old.const_value is not None else np.zeros(1, np.float32)
    array = (before.astype(np.float64) + shift).astype(np.float32)
    name = f"{node.name}.corrected_bias"
    while name in graph.initializers:
        name += "_"
    if len(node.inputs) <= place:
        node.resize_inputs(place + 1)
    node.replace_input_with(place, add_constant(graph, name, array))
    if old is not None and not old.uses():
        graph.initializers.pop(old.name or "", None)
    return None


def _addition(node: ir.Node) -> tuple[ir.Node, int] | None:
    """The addition that alone reads a layer's output, and which of its inputs is the other one."""
    uses = list(node.outputs[0].uses())
    follower = uses[0].node if len(uses) == 1 and not node.outputs[0].is_graph_output() else None
    if follower is None or follower.op_type != "Add" or follower.domain != "":
        return None
    return follower, 1 - uses[0].idx


def _is_of_channels(shape: tuple[int, ...], channels: int, rank: int) -> bool:
    """Whether a constant of a shape adds one number to each channel, the second axis of a tensor."""
    axis = len(shape) - rank + 1
    return rank > 1 and axis >= 0 and shape[axis] == channels == int(np.prod(shape))


def _add_after(graph: ir.Graph, node: ir.Node, change: Array) -> None:
    """An addition that takes over the output's name, so that others still find the layer's result under it."""
    old = node.outputs[0]
    rank = len(old.shape or ())
    shape = (-1, *[1] * (rank - 2)) if node.op_type in ("Conv", "ConvTranspose") else (-1,)
    bias = add_constant(graph, f"{node.name}.corrected_bias", change.astype(np.float32).reshape(shape))
    add = ir.node("Add", [old, bias], name=f"{node.name}/bias")
    new = add.outputs[0]
    new.shape, new.type = old.shape, old.type
    ir.convenience.replace_all_uses_with(old, new, replace_graph_outputs=True)
    add.replace_input_with(0, old)
    old.name, new.name = f"{old.name}_uncorrected", old.name
    graph.insert_after(node, add)
