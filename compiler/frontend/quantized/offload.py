"""Takes integer parts out of a graph: each becomes one node that carries its compiled code."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray
from onnx_ir.passes.common import RemoveUnusedNodesPass

from tilewright.errors import UnsupportedError
from tilewright.frontend.operators.nna import DOMAIN
from tilewright.frontend.quantized.deepen import deepen
from tilewright.frontend.quantized.hoist import hoist
from tilewright.frontend.quantized.match import Match, match
from tilewright.frontend.quantized.parts import is_layer, number_parts, results
from tilewright.frontend.quantized.standardise import standardise
from tilewright.frontend.quantized.values import Unfit, map_shape, quantization
from tilewright.integer.capabilities import Capabilities
from tilewright.integer.elementwise import Affine
from tilewright.integer.network import Map, Network, View

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

OPERATOR = "Stream"
"""The operator of a compiled part. Inputs: its weights (uint8), then maps (1, height, width, channels); outputs: maps.
Attributes: ``payload`` (uint8 tensor), ``workspaces`` (bytes of each)."""


class Compiled(Protocol):
    """What a part's compiler returns."""

    @property
    def payload(self) -> bytes: ...
    @property
    def weights(self) -> bytes: ...
    @property
    def workspaces(self) -> Sequence[int]: ...
    @property
    def layers(self) -> Sequence[DataclassInstance]: ...


@dataclass(frozen=True)
class Offload:
    """A graph whose integer parts are compiled.

    Attributes:
        model: a new graph.
        parts: layers of each part, and what it was compiled from and to, in order.
        host: the layers that are left, and why.
    """

    model: ir.Model
    parts: tuple[tuple[tuple[str, ...], Network, Compiled], ...]
    host: Mapping[str, str]

    def table(self) -> dict[str, Any]:
        """For the artifact's metadata: parts with their layers, what is left to the host and why."""
        parts = [
            {
                "stream_bytes": len(code.payload),
                "weight_bytes": len(code.weights),
                "workspaces": list(code.workspaces),
                "layers": [dataclasses.asdict(layer) for layer in code.layers],
            }
            for _, _, code in self.parts
        ]
        return {"parts": parts, "host": dict(self.host)}


def offload(
    model: ir.Model, compile_part: Callable[[Network], Compiled], capabilities: Capabilities | None = None
) -> Offload:
    """Compiles what can be computed in integers.

    Args:
        model: normalised, in the QDQ form; left unchanged.
        capabilities: what the accelerator computes; None: what any does.
        compile_part: raises UnsupportedError for a part that it cannot take; that part stays where it was.

    Raises:
        ToolError: the part's compiler is missing or failed.
    """
    model = model.clone()
    most = capabilities or Capabilities()
    standardise(model.graph, most)
    hoist(model.graph)
    if most.fused_tables:
        deepen(model.graph, most)
    matches, host = _matches(model.graph, most)
    parts = number_parts(model.graph, matches)
    compiled = []
    for number in sorted(set(parts.values())):
        nodes = [node for node, part in parts.items() if part == number]
        builder = _Part([matches[node] for node in nodes], results(number, parts, matches))
        network = builder.network()
        if all(isinstance(operation, View) for operation in network.operations):
            host |= {matches[node].layer: "its part of the network computes nothing" for node in nodes}
            continue
        try:
            code = compile_part(network)
        except UnsupportedError as error:
            reason = "; ".join(problem.what for problem in error.problems)
            host |= {matches[node].layer: f"its part of the network does not fit: {reason}" for node in nodes}
            continue
        compiled.append((builder, network, code))
    for number, (builder, _, code) in enumerate(compiled):
        builder.replace(model, number, code)
    model.graph.sort()
    RemoveUnusedNodesPass()(model)
    done = tuple(
        (tuple(found.layer for found in builder.matches), network, code) for builder, network, code in compiled
    )
    return Offload(model, done, host)


def _matches(graph: ir.Graph, capabilities: Capabilities) -> tuple[dict[ir.Node, Match], dict[str, str]]:
    """Layers in integers, and reasons for the others."""
    matches: dict[ir.Node, Match] = {}
    host: dict[str, str] = {}
    clamps: set[ir.Node] = set()
    made: set[ir.Value] = set()
    for node in graph:
        try:
            found = match(node, capabilities)
            if found.target not in made:  # else the layer before absorbs this clamp
                matches[node] = found
                made.add(found.target)
        except Unfit as unfit:
            if is_layer(node):
                host[node.name or node.op_type] = f"its {unfit}"
    while torn := [found for found in matches.values() if any(user not in matches for user in found.needs)]:
        for found in torn:  # and with it who expects the other order
            for node in (found.node, *found.needs):
                if matches.pop(node, None) is not None:
                    host[node.name or node.op_type] = "its elements move for a layer that is computed elsewhere"
    for found in matches.values():
        value = found.target.producer()
        while value is not None and value is not found.node:
            clamps.add(value)
            source = value.inputs[0]
            value = source.producer() if source is not None else None
        clamps |= found.covers
    for node in clamps:
        host.pop(node.name or node.op_type, None)
    return matches, host


class _Part:
    """One part: its maps, and how it is put into the graph."""

    def __init__(self, matches: list[Match], outputs: list[ir.Value]) -> None:
        self.matches = matches
        self.outputs = outputs
        made = {found.target for found in matches}
        sources = dict.fromkeys(source for found in matches for source in found.sources)
        self.inputs = [source for source in sources if source not in made]
        self.scales = {found.target: found.scales for found in matches if found.scales is not None}

    def network(self) -> Network:
        maps: list[Map] = []
        index: dict[ir.Value, int] = {}

        def add(value: ir.Value, affine: Affine) -> None:
            index[value] = len(maps)
            maps.append(Map(value.name or "", map_shape(value), affine))

        operations = []
        for found in self.matches:
            for source in found.sources:
                if source not in index:
                    add(source, quantization(source))
            add(found.target, found.affine)
            operations.append(found.build(*(index[source] for source in found.sources), index[found.target]))
        inputs, outputs = (tuple(index[value] for value in values) for values in (self.inputs, self.outputs))
        return Network(tuple(maps), inputs, outputs, tuple(operations))

    def replace(self, model: ir.Model, number: int, code: Compiled) -> None:
        graph = model.graph
        data = np.frombuffer(code.weights, np.uint8)
        name = f"nna{number}.weights"
        weights = ir.Value(name=name, const_value=ir.tensor(data, name=name))
        weights.shape, weights.dtype = ir.Shape(data.shape), ir.DataType.UINT8
        graph.register_initializer(weights)
        attributes: dict[str, Any] = {
            "payload": ir.tensor(np.frombuffer(code.payload, np.uint8), name=f"nna{number}.payload"),
            "workspaces": list(code.workspaces),
        }
        label = f"{self.matches[0].layer} to {self.matches[-1].layer}"
        sources = [_to_map(graph, value) for value in self.inputs]
        node = ir.node(
            OPERATOR, [weights, *sources], attributes, domain=DOMAIN, num_outputs=len(self.outputs), name=label
        )
        model.opset_imports[DOMAIN] = 1
        graph.append(node)
        for value, made in zip(self.outputs, node.outputs, strict=True):
            scales = self.scales.get(value)
            made.name = f"{value.name}.map"
            made.shape = ir.Shape((1, *map_shape(value)))
            assert value.dtype is not None
            made.dtype = ir.DataType.INT32 if scales is not None else value.dtype
            found = _from_map(graph, made, value, scales)
            ir.convenience.replace_all_uses_with(value, found, replace_graph_outputs=True)


def _to_map(graph: ir.Graph, value: ir.Value) -> ir.Value:
    """A value (1, channels, height, width), or with channels last, as a map (1, height, width, channels)."""
    shape = map_shape(value)
    if value.shape is not None and len(value.shape) == 4:
        return _add(graph, "Transpose", [value], (1, *shape), value.dtype, perm=[0, 2, 3, 1])
    target = _integers(graph, f"{value.name}.shape", (1, *shape))
    return _add(graph, "Reshape", [value, target], (1, *shape), value.dtype)


def _from_map(graph: ir.Graph, made: ir.Value, value: ir.Value, scales: NDArray[np.float32] | None) -> ir.Value:
    """The reverse; accumulators become float."""
    shape = tuple(int(dim) for dim in value.shape.numpy()) if value.shape is not None else ()
    if len(shape) == 4:
        found = _add(graph, "Transpose", [made], shape, made.dtype, perm=[0, 3, 1, 2])
    else:
        found = _add(graph, "Reshape", [made, _integers(graph, f"{value.name}.back", shape)], shape, made.dtype)
    if scales is None:
        return found
    name = f"{value.name}.scales"
    factor = ir.Value(name=name, const_value=ir.tensor(scales, name=name))
    factor.shape, factor.dtype = ir.Shape(scales.shape), ir.DataType.FLOAT
    graph.register_initializer(factor)
    axis = 2 if len(shape) == 3 else 1
    return _add(graph, "DequantizeLinear", [found, factor], shape, ir.DataType.FLOAT, axis=axis)


def _integers(graph: ir.Graph, name: str, values: tuple[int, ...]) -> ir.Value:
    array = np.array(values, np.int64)
    value = ir.Value(name=name, const_value=ir.tensor(array, name=name))
    value.shape, value.dtype = ir.Shape(array.shape), ir.DataType.INT64
    graph.register_initializer(value)
    return value


def _add(
    graph: ir.Graph,
    kind: str,
    inputs: list[ir.Value],
    shape: tuple[int, ...],
    dtype: ir.DataType | None,
    **more: object,
) -> ir.Value:
    node = ir.node(kind, inputs, dict(more), name=f"{inputs[0].name}/{kind.lower()}")  # type: ignore[arg-type]
    (value,) = node.outputs
    assert dtype is not None
    value.name, value.shape, value.dtype = f"{inputs[0].name}.{kind.lower()}", ir.Shape(shape), dtype
    graph.append(node)
    return value
