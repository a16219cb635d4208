"""Between which numbers a float value lies, whatever the network's input: intervals from the quantizers on.

Interval arithmetic (Moore 1966) knows nothing of how operands depend on each other, so bounds are wide; 16 bits bear
that, and need no calibration.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir

from tilewright.frontend.quantized.expression import expression
from tilewright.frontend.quantized.linear import extent, layer_of
from tilewright.frontend.quantized.values import Unfit, constant, integers_of
from tilewright.integer.capabilities import Capabilities
from tilewright.passes.activation_results import ELEMENTWISE

Interval = tuple[float, float]

POOLS = ("GlobalAveragePool", "AveragePool", "MaxPool")
_GRID = 4096
_PAIRS: dict[str, Callable[[float, float], float]] = {
    "Add": lambda a, b: a + b,
    "Sub": lambda a, b: a - b,
    "Mul": lambda a, b: a * b,
}


class Bounds:
    """Intervals of a graph's values; a graph that changes needs another one."""

    def __init__(self, capabilities: Capabilities) -> None:
        self._capabilities = capabilities
        self._known: dict[ir.Value, Interval | None] = {}

    def of(self, value: ir.Value | None) -> Interval | None:
        """A value's interval; None where there is none to be had."""
        if value is None:
            return None
        if value not in self._known:
            self._known[value] = None  # until it is known, and against cycles
            try:
                found = self._find(value)
            except Unfit:
                found = None
            self._known[value] = found if found is None or np.isfinite(found).all() else None
        return self._known[value]

    def _find(self, value: ir.Value) -> Interval | None:
        layer = layer_of(value)
        if layer is not None:
            return extent(layer, self._capabilities)
        node = value.producer()
        if node is None or node.domain != "":
            return None
        if node.op_type == "DequantizeLinear":
            affine = integers_of(value)[1]
            low, high = ((end - affine.zero) * affine.scale for end in affine.limits)
            return low, high
        if node.op_type in POOLS:
            return self.of(node.inputs[0])
        if is_pair(node):
            first, second = (self.of(operand) for operand in node.inputs)
            if first is None or second is None:
                return None
            ends = [_PAIRS[node.op_type](a, b) for a in first for b in second]
            return min(ends), max(ends)
        if node.op_type not in ELEMENTWISE:
            return None
        found = expression(node)
        ends_ = self.of(found.leaf)
        if ends_ is None:
            return None
        y = found(np.linspace(*ends_, _GRID + 1).astype(np.float32))
        return float(y.min()), float(y.max())


def is_pair(node: ir.Node) -> bool:
    """Whether a node is a sum, difference or product of two tensors that no one function makes of one."""
    if node.op_type not in _PAIRS or node.domain != "" or any(constant(value) is not None for value in node.inputs):
        return False
    try:
        expression(node)
    except Unfit:
        return True
    return False
