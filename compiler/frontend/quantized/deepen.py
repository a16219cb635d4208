"""Deep integers between a layer and a function of its result, so that both run on the accelerator.

Where a function follows a convolution before anything is quantized, its operand gets integers of the depth of the
accelerator's tables. Their range needs no calibration: beyond some point on either side the quantized function does not
change any more (hard-swish to 8 bits: below -3, and where its result saturates), and what lies between is known from
the function and the result's quantizer alone; the layer's greatest sums bound it otherwise.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from tilewright.frontend.quantized.expression import ELEMENTWISE, Expression, expression
from tilewright.frontend.quantized.linear import layer_of, reach
from tilewright.frontend.quantized.pairs import clamped_pair
from tilewright.frontend.quantized.pointwise import integers
from tilewright.frontend.quantized.result import Result, result_of
from tilewright.frontend.quantized.values import Unfit, map_shape
from tilewright.integer.capabilities import Capabilities
from tilewright.passes.fake_quantize import fit

_GRID, _ROUNDS = 4096, 3


def deepen(graph: ir.Graph, capabilities: Capabilities) -> None:
    """Puts such quantizers into a graph."""
    for node in list(graph):
        if node.domain != "" or node.op_type not in ELEMENTWISE:
            continue
        try:
            found, result = expression(node), result_of(node)
            layer = _layer(found)
            ends = changing(found, result, reach(layer, capabilities)) if layer is not None else None
        except Unfit:
            continue
        if layer is not None and ends is not None:
            _insert(graph, found, ends, capabilities.table_depth)


def _layer(found: Expression) -> ir.Node | None:
    """The convolution or fully connected layer that a function alone reads."""
    layer = layer_of(found.leaf)
    if layer is None or not found.alone:
        return None
    map_shape(found.leaf)
    clamps = all(node.op_type in ("Relu", "Clip") for node in found.nodes)
    return None if clamps else layer  # a layer absorbs these


def changing(found: Expression, result: Result, most: float) -> tuple[float, float] | None:
    """Where in [-most, most] the quantized function changes; None if nowhere."""
    low, high = -most, most
    for _ in range(_ROUNDS):
        x = np.linspace(low, high, _GRID + 1).astype(np.float32)
        y = integers(found(x), result)
        moved = np.flatnonzero(y[1:] != y[:-1])
        if not moved.size:
            return None
        low, high = float(x[moved[0]]), float(x[moved[-1] + 1])
    return low, high


def _insert(graph: ir.Graph, found: Expression, ends: tuple[float, float], depth: int) -> None:
    value = found.leaf
    uses = list(value.uses())
    quantizer = fit(*ends, depth)
    nodes = clamped_pair(graph, value, quantizer, depth, f"{value.name}/deep", value)
    for use in uses:
        use.node.replace_input_with(use.idx, nodes[-1].outputs[0])
    last = value.producer()
    assert last is not None
    graph.insert_after(last, nodes)
