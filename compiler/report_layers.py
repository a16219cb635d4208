"""Fills the report's rows: what a compressed graph says about its weights, next to the float graph it came from."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from tilewright.formats.packed import PackedWeight, kept_magnitude, snr_db
from tilewright.numeric import relative_l2
from tilewright.passes.encode import EncodedLayer, is_unpack, unpackings
from tilewright.passes.execution import Feed, runner
from tilewright.passes.weights import Array, all_weights, weights_in
from tilewright.report import LayerReport, Report, histogram

if TYPE_CHECKING:
    from tilewright.artifact import Artifact

_PROBES = 4  # feeds on which the errors of the layers' outputs are measured


@dataclass
class Notes:
    """What passes have to say about layers, by layer name."""

    texts: dict[str, list[str]] = field(default_factory=dict)
    activations: Mapping[str, int] = field(default_factory=dict)

    def add(self, layer: str, text: str) -> None:
        self.texts.setdefault(layer, []).append(text)

    def of(self, layer: str) -> str:
        return "; ".join(self.texts.get(layer, ()))


def layers_of(
    graph: ir.Model,
    encoded: Sequence[EncodedLayer],
    float_graph: ir.Model,
    notes: Notes,
    errors: Mapping[str, float],
) -> tuple[LayerReport, ...]:
    """Rows for all weights of ``float_graph``, in its order.

    Args:
        graph: the compressed graph; weights and layers have the names of ``float_graph``.
        errors: of the layers' outputs, by layer name.
    """
    packed = {layer.weight: layer.packed for layer in encoded}
    nodes = {str(node.outputs[0].name): (node, unpacking) for node, unpacking in unpackings(graph.graph)}
    rows = []
    for weight in weights_in(float_graph.graph):
        name = weight.value.name or ""
        before = weight.array
        row = LayerReport(
            layer=weight.layer,
            operator=weight.operator,
            weight=name,
            shape=before.shape,
            layout="dense",
            codec="f32",
            storage="raw",
            bytes_before=before.nbytes,
            parts={"values": before.nbytes},
            activations=notes.activations.get(weight.layer),
            output_error=errors.get(weight.layer),
            note=notes.of(weight.layer),
        )
        if name in packed and name in nodes:
            node, unpacking = nodes[name]
            row = _encoded(row, before, unpacking.decode(node), packed[name])
        elif (now := graph.graph.initializers.get(name)) is not None and now.const_value is not None:
            row = _compared(row, before, now.const_value.numpy())
        rows.append(row)
    return tuple(rows)


def onnx_file(graph: ir.Model, layers: Sequence[LayerReport]) -> tuple[dict[str, int], tuple[LayerReport, ...]]:
    """The model as an ONNX file, byte by byte, and the rows with the bytes they have there: arrays are never coded."""
    raw: dict[str, dict[str, int]] = {}
    for node, unpacking in unpackings(graph.graph):
        arrays = unpacking.arrays(node)
        raw[str(node.outputs[0].name)] = {role: array.nbytes for role, array in arrays.items()}
    rows = tuple(replace(row, parts=raw[row.weight]) if row.weight in raw else row for row in layers)
    packed = sum(sum(parts.values()) for parts in raw.values())
    weights = {row.weight for row in rows} - set(raw)
    floats = others = 0
    for value in graph.graph.initializers.values():
        if value.const_value is None or any(is_unpack(use.node) for use in value.uses()):
            continue
        if value.name in weights:
            floats += value.const_value.nbytes
        else:
            others += value.const_value.nbytes
    size = ir.to_proto(graph).ByteSize()
    parts = {"compressed weights": packed, "float weights": floats, "other constants": others}
    return {**parts, "graph and functions": size - sum(parts.values())}, rows


def _encoded(row: LayerReport, before: Array, after: Array, packed: PackedWeight) -> LayerReport:
    form = packed.format
    row = replace(
        row, layout=form.layout.spec, codec=form.codec.spec, storage=form.storage.spec, parts=dict(packed.sizes)
    )
    return _compared(row, before, after)


def _compared(row: LayerReport, before: Array, after: Array) -> LayerReport:
    if np.array_equal(before, after):
        return row
    old, new = before.reshape(len(before), -1), after.reshape(len(after), -1)
    return replace(row, kept=kept_magnitude(old, new != 0), snr=snr_db(old, new), histogram=histogram(before, after))


def output_errors(graph: ir.Model, float_graph: ir.Model, feeds: Iterable[Feed] | None) -> dict[str, float]:
    """Relative L2 error of what every layer with a weight computes, by layer name; the worst of a few feeds.

    Empty without feeds. A layer that is computed by other nodes now is left out.
    """
    if feeds is None:
        return {}
    names = {node.name: node.outputs[0].name for node in float_graph.graph if node.outputs}
    now = {node.name: node.outputs[0].name for node in graph.graph if node.outputs}
    layers = {
        weight.layer: str(names[weight.layer])
        for weight in all_weights(float_graph.graph)
        if names[weight.layer] == now.get(weight.layer)
    }
    if not layers:
        return {}
    wanted = list(dict.fromkeys(layers.values()))
    runners = [runner(model, wanted) for model in (float_graph, graph)]
    worst = dict.fromkeys(layers, 0.0)
    for feed in islice(feeds, _PROBES):
        before, after = (run(feed) for run in runners)
        for layer, output in layers.items():
            worst[layer] = max(worst[layer], relative_l2(after[output], before[output]))
    return worst


def uncompressed(graph: ir.Model) -> Report:
    """The report of a graph that is compiled as it is; its weights may be encoded already."""
    return Report(model=graph.graph.name or "", recipe={}, layers=_as_is(graph))


def _as_is(graph: ir.Model) -> tuple[LayerReport, ...]:
    """Rows of encoded weights, then of the others; what they were before encoding is not known."""
    rows = []
    for node, unpacking in unpackings(graph.graph):
        user = next(use.node for use in node.outputs[0].uses())
        form = unpacking.format
        rows.append(
            LayerReport(
                layer=user.name or "",
                operator=user.op_type,
                weight=str(node.outputs[0].name),
                shape=unpacking.shape,
                layout=form.layout.spec,
                codec=form.codec.spec,
                storage=form.storage.spec,
                bytes_before=4 * math.prod(unpacking.shape),
                parts={role: array.nbytes for role, array in unpacking.arrays(node).items()},
            )
        )
    for weight in all_weights(graph.graph):
        size = weight.array.nbytes
        name = weight.value.name or ""
        row = LayerReport(
            weight.layer, weight.operator, name, weight.array.shape, "dense", "f32", "raw", size, {"values": size}
        )
        rows.append(row)
    return tuple(rows)


def artifact_file(artifact: Artifact, layers: Sequence[LayerReport]) -> tuple[dict[str, int], tuple[LayerReport, ...]]:
    """The artifact byte by byte, and the rows with the bytes that their arrays have there."""
    sizes = artifact.sizes()
    rows = []
    packed = 0
    for row in layers:
        prefix = f"{row.weight}."
        found = {name.removeprefix(prefix): size for name, size in sizes.constants.items() if name.startswith(prefix)}
        if found and row.format != "float":
            padding = row.parts.get("padding", 0)
            reason = artifact.plan.unpacked.get(row.weight, "")
            notes = [row.note] * bool(row.note) + [f"kept dense: {reason}"] * bool(reason)
            row = replace(row, parts=_with_padding(found, padding), note="; ".join(notes))
            packed += row.bytes
        rows.append(row)
    return {
        "compressed weights": packed,
        "other constants": sum(sizes.constants.values()) - packed,
        **sizes.rest,
    }, tuple(rows)


def _with_padding(parts: dict[str, int], padding: int) -> dict[str, int]:
    """Takes the padded share out of the values, as PackedWeight.sizes does."""
    role = next((role for role in ("values", "blocks") if role in parts), None)
    if role is None or not 0 < padding <= parts[role]:
        return parts
    return {**parts, role: parts[role] - padding, "padding": padding}
