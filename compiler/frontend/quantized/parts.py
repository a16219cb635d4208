"""Which matched layers go together: parts that can run in one go, as no path leaves and re-enters them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import onnx_ir as ir

from tilewright.frontend.quantized.match import Match

_MINOR = ("QuantizeLinear", "DequantizeLinear")


def number_parts(graph: ir.Graph, matches: Mapping[ir.Node, Match]) -> dict[ir.Node, int]:
    """A part's number for each matched layer.

    A layer joins the part of its sources. What is computed elsewhere from a part's results is for later parts.
    """
    parts: dict[ir.Node, int] = {}
    made_by: dict[ir.Value, int] = {}
    earliest: dict[ir.Value, int] = {}  # the first part that may read a value computed elsewhere

    def ready(values: Iterable[ir.Value | None]) -> int:
        found = [made_by[value] + 1 if value in made_by else earliest.get(value, 0) for value in values if value]
        return max(found, default=0)

    for node in graph:
        match = matches.get(node)
        if match is None:
            first = ready(node.inputs)
            earliest.update((value, first) for value in node.outputs if value not in made_by)
            continue
        part = max(made_by.get(value, earliest.get(value, 0)) for value in match.sources)
        parts[node] = part
        made_by[match.target] = part
        earliest.update((value, part + 1) for value in node.outputs if value not in made_by)
    return parts


def results(part: int, parts: Mapping[ir.Node, int], matches: Mapping[ir.Node, Match]) -> list[ir.Value]:
    """What a part makes that is read outside of it, in the order of its layers."""
    found = []
    covered = {inner: parts[node] for node in parts for inner in matches[node].covers}
    for node, number in parts.items():
        target = matches[node].target
        if number != part:
            continue
        if matches[node].scales is not None or _read_outside(target, part, parts, matches, covered):
            found.append(target)
    return found


def _read_outside(
    integers: ir.Value,
    part: int,
    parts: Mapping[ir.Node, int],
    matches: Mapping[ir.Node, Match],
    covered: Mapping[ir.Node, int],
) -> bool:
    if integers.is_graph_output():
        return True
    for use in integers.uses():
        if use.node.op_type != "DequantizeLinear" or use.node.outputs[0].is_graph_output():
            return True
        for reader in use.node.outputs[0].uses():
            inside = parts.get(reader.node) == part and integers in matches[reader.node].sources
            if not inside and covered.get(reader.node) != part:
                return True
    return False


def is_layer(node: ir.Node) -> bool:
    """Whether a node is what people call a layer; quantizers and their clamps are not."""
    if node.op_type in ("Clip", "Relu") and all(user.op_type == "QuantizeLinear" for user in node.successors()):
        return False
    return node.op_type not in _MINOR and node.domain == ""
