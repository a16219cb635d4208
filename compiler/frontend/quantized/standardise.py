"""FakeQuantize as QuantizeLinear and DequantizeLinear, which say the same with integers in between."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from tilewright.frontend.quantized.pairs import clamped_pair
from tilewright.frontend.quantized.values import constant
from tilewright.integer.capabilities import Capabilities
from tilewright.passes.fake_quantize import DOMAIN, FAKE_QUANTIZE, Quantizer


def standardise(graph: ir.Graph, capabilities: Capabilities) -> None:
    """Replaces every such node of a depth that fits one of the accelerator's, by the least of these.

    Integers become unsigned, so that zero points alone tell signed from unsigned quantizers, but for depths of which
    the accelerator wants them without zero points. Where a type is deeper, a Clip in front keeps them in their range.
    """
    for node in list(graph):
        if node.domain == DOMAIN and node.op_type == FAKE_QUANTIZE:
            scale, zero = constant(node.inputs[1]), constant(node.inputs[2])
            bits, signed = (node.attributes[name].as_int() for name in ("bits", "signed"))
            depth = capabilities.depth(bits)
            if depth is not None and scale is not None and zero is not None and scale.size == zero.size == 1:
                quantizer = Quantizer(bits, bool(signed), float(np.float32(scale.item())), int(zero.item()))
                _replace(graph, node, quantizer, depth, depth in capabilities.symmetric)


def _replace(graph: ir.Graph, node: ir.Node, quantizer: Quantizer, depth: int, symmetric: bool) -> None:
    result, value = node.outputs[0], node.inputs[0]
    assert value is not None
    nodes = clamped_pair(graph, value, quantizer, depth, node.name or str(result.name), result, symmetric)
    graph.insert_before(node, nodes)
    ir.convenience.replace_all_uses_with(result, nodes[-1].outputs[0], replace_graph_outputs=True)
    graph.remove(node, safe=True)
