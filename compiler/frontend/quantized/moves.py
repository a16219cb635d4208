"""Layers that only move data: flattenings, concatenation, resizing."""

from __future__ import annotations

import onnx_ir as ir

from tilewright.frontend.quantized.result import Build, Match, keeps, result_of, skip
from tilewright.frontend.quantized.values import Unfit, integers_of, map_shape
from tilewright.integer.capabilities import Capabilities
from tilewright.integer.network import Concat, Resize, View

VIEWS = ("Flatten", "Reshape", "Squeeze", "Unsqueeze")
_MOST_FACTOR = 64


def view(node: ir.Node, capabilities: Capabilities) -> Match:
    source, before = integers_of(node.inputs[0])
    result = result_of(node)
    assert node.inputs[0] is not None
    shape, after = map_shape(node.inputs[0]), map_shape(node.outputs[0])
    if 3 in _ranks(node.inputs[0], node.outputs[0]) and 4 in _ranks(node.inputs[0], node.outputs[0]):
        raise Unfit("elements move")
    if not keeps(source, before, result):
        raise Unfit("result is quantized differently")
    needs: tuple[ir.Node, ...] = ()
    if shape != after and len(node.inputs[0].shape or ()) == 4 and reorders(shape):
        if after[:2] != (1, 1):
            raise Unfit("elements move")
        needs = _readers(result.target)
        outside = any(use.node.outputs[0].is_graph_output() for use in result.target.uses())
        if outside or not needs or any(user.op_type not in ("Gemm", "MatMul") for user in needs):
            raise Unfit("elements move for a layer other than a fully connected one")
    build: Build = lambda from_, to: View(node.name or node.op_type, from_, to)  # noqa: E731
    return Match(node, (source,), result.target, result.affine, build, needs=needs)


def _ranks(*values: ir.Value) -> set[int]:
    return {len(value.shape or ()) for value in values}


def concat(node: ir.Node, capabilities: Capabilities) -> Match:
    """Maps one after another along the channels, all quantized alike."""
    first, before = integers_of(node.inputs[0])
    sources = [first, *(integers_of(value)[0] for value in node.inputs[1:])]
    result = result_of(node)
    if any(integers_of(value)[1] != before for value in node.inputs) or not all(
        keeps(source, before, result) for source in sources
    ):
        raise Unfit("operands and result are quantized differently")
    if not along_channels(node):
        raise Unfit("axis is not that of the channels")
    map_shape(node.outputs[0])
    build: Build = lambda *maps: Concat(node.name or node.op_type, maps[:-1], maps[-1])  # noqa: E731
    return Match(node, tuple(sources), result.target, result.affine, build)


def along_channels(node: ir.Node) -> bool:
    """Whether a concatenation is one of channels."""
    rank = len(node.outputs[0].shape or ())
    return rank > 0 and node.attributes["axis"].as_int() % rank == (1 if rank == 4 else rank - 1)


def resize(node: ir.Node, capabilities: Capabilities) -> Match:
    """Nearest neighbours, where every element is repeated: whole factors, and a grid that starts at the first one."""
    source, before = integers_of(node.inputs[0])
    result = result_of(node)
    if not keeps(source, before, result):
        raise Unfit("result is quantized differently")
    assert node.inputs[0] is not None
    (height, width, depth), after = map_shape(node.inputs[0]), map_shape(node.outputs[0])
    factors = after[0] // height, after[1] // width
    if (height * factors[0], width * factors[1], depth) != after or max(factors) > _MOST_FACTOR:
        raise Unfit("factors are not whole")
    if capabilities.doubling and (factors[0] != factors[1] or factors[0] & factors[0] - 1):
        raise Unfit(f"factors {factors} are no equal powers of two")
    kind, grid, rounding = (
        node.attributes[name].as_string() if name in node.attributes else default
        for name, default in (
            ("mode", "nearest"),
            ("coordinate_transformation_mode", "half_pixel"),
            ("nearest_mode", "round_prefer_floor"),
        )
    )
    repeats = (grid, rounding) in (("asymmetric", "floor"), ("half_pixel", "round_prefer_floor"))
    if kind != "nearest" or not repeats:
        raise Unfit(f"elements are not repeated: {kind}, {grid}, {rounding}")
    build: Build = lambda from_, to: Resize(node.name or node.op_type, from_, to, factors)  # noqa: E731
    return Match(node, (source,), result.target, result.affine, build)


def _readers(integers: ir.Value) -> tuple[ir.Node, ...]:
    """The nodes that read dequantized integers."""
    return tuple(use.node for user in integers.uses() for use in user.node.outputs[0].uses())


def flattened(node: ir.Node) -> tuple[int, int, int] | None:
    """The map that a fully connected layer's input was flattened from, where that changes the order of elements."""
    source, _ = integers_of(node.inputs[0])
    source_view = skip(skip(source.producer(), "QuantizeLinear"), "Relu", "Clip")
    if source_view is None or source_view.op_type not in VIEWS or source_view.inputs[0] is None:
        return None
    try:
        view(source_view, Capabilities())
    except Unfit:
        return None
    shape = map_shape(source_view.inputs[0])
    return shape if len(source_view.inputs[0].shape or ()) == 4 and reorders(shape) else None


def reorders(shape: tuple[int, int, int]) -> bool:
    return shape[0] * shape[1] > 1 and shape[2] > 1
