"""Deep integers where a float value lies between what an accelerator computes, so that it computes all of it.

Sums, products and means of float values get operands of the depth of the accelerator's tables, if their own result is
quantized; the operands' range is what interval arithmetic says (bounds.py): squeeze and excitation, for example.

Where a function follows a convolution before anything is quantized, its operand gets integers of the depth of the
accelerator's tables. Their range needs no calibration: beyond some point on either side the quantized function does not
change any more (hard-swish to 8 bits: below -3, and where its result saturates), and what lies between is known from
the function and the result's quantizer alone; the layer's greatest sums bound it otherwise.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import onnx_ir as ir

from tilewright.frontend.quantized.bounds import POOLS, Bounds, is_pair
from tilewright.frontend.quantized.expression import Expression, expression
from tilewright.frontend.quantized.linear import extent, layer_of
from tilewright.frontend.quantized.pairs import clamped_pair
from tilewright.frontend.quantized.pointwise import integers
from tilewright.frontend.quantized.result import Result, result_of
from tilewright.frontend.quantized.values import Unfit, map_shape
from tilewright.integer.capabilities import Capabilities
from tilewright.passes.activation_results import ELEMENTWISE
from tilewright.passes.fake_quantize import fit

_GRID, _ROUNDS = 4096, 3


def deepen(graph: ir.Graph, capabilities: Capabilities) -> None:
    """Puts such quantizers into a graph."""
    bounds = Bounds(capabilities)
    for value, ends in [(value, bounds.of(value)) for value in _operands(graph, bounds)]:
        if ends is not None and ends[0] < ends[1]:
            _insert(graph, value, ends, capabilities.table_depth)
    for node in list(graph):
        if node.domain != "" or node.op_type not in ELEMENTWISE:
            continue
        try:
            found, result = expression(node), result_of(node)
            layer = _layer(found)
            ends = changing(found, result, extent(layer, capabilities)) if layer is not None else None
        except Unfit:
            continue
        if layer is not None and ends is not None:
            _insert(graph, found.leaf, ends, capabilities.table_depth)


def _operands(graph: ir.Graph, bounds: Bounds) -> list[ir.Value]:
    """Float operands of sums, products and means whose result becomes integers, in the order of the graph."""
    for node in graph:  # operands first, lest long chains recurse
        bounds.of(node.outputs[0])
    wanted: dict[ir.Value, None] = {}
    for node in reversed(graph):
        if node.domain != "" or not (node.op_type in POOLS or is_pair(node)):
            continue
        values = [value for value in (node.inputs[:1] if node.op_type in POOLS else node.inputs) if value is not None]
        if not _becomes_integers(node, wanted) or any(bounds.of(value) is None for value in values):
            continue
        wanted.update((value, None) for value in values if not _is_integer(value))
    return list(reversed(wanted))


def _becomes_integers(node: ir.Node, wanted: Collection[ir.Value]) -> bool:
    try:
        for value in node.outputs:
            map_shape(value)
        result_of(node)
    except Unfit:
        return node.outputs[0] in wanted
    return True


def _is_integer(value: ir.Value) -> bool:
    producer = value.producer()
    return producer is not None and producer.op_type == "DequantizeLinear"


def _layer(found: Expression) -> ir.Node | None:
    """The convolution or fully connected layer that a function alone reads."""
    layer = layer_of(found.leaf)
    if layer is None or not found.alone:
        return None
    map_shape(found.leaf)
    clamps = all(node.op_type in ("Relu", "Clip") for node in found.nodes)
    return None if clamps else layer  # a layer absorbs these


def changing(found: Expression, result: Result, ends: tuple[float, float]) -> tuple[float, float] | None:
    """Where between two ends the quantized function changes; None if nowhere."""
    low, high = ends
    for _ in range(_ROUNDS):
        x = np.linspace(low, high, _GRID + 1).astype(np.float32)
        y = integers(found(x), result)
        moved = np.flatnonzero(y[1:] != y[:-1])
        if not moved.size:
            return None
        low, high = float(x[moved[0]]), float(x[moved[-1] + 1])
    return low, high


def _insert(graph: ir.Graph, value: ir.Value, ends: tuple[float, float], depth: int) -> None:
    uses = list(value.uses())
    quantizer = fit(*ends, depth)
    nodes = clamped_pair(graph, value, quantizer, depth, f"{value.name}/deep", value)
    for use in uses:
        use.node.replace_input_with(use.idx, nodes[-1].outputs[0])
    last = value.producer()
    assert last is not None
    graph.insert_after(last, nodes)
