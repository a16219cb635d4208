"""What every match needs: where a layer's result is quantized, with clamps on the way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from tilewright.frontend.quantized.values import Unfit, affine, constant
from tilewright.integer.elementwise import Affine
from tilewright.integer.network import Operation

Build = Callable[..., Operation]
"""From the indices of the source maps and of the target map to an operation."""


@dataclass(frozen=True)
class Match:
    """A layer and what it is in integers.

    Attributes:
        node: the layer's own node.
        sources: integer values that it reads.
        target: the integer value that it makes, or its float result.
        affine: of the target.
        scales: None, or what accumulators are multiplied with, for each channel: the target is float.
        needs: layers that have to be in the same part: a view whose elements they take in another order.
        covers: other nodes that the operation computes, and that nobody else needs.
    """

    node: ir.Node
    sources: tuple[ir.Value, ...]
    target: ir.Value
    affine: Affine
    build: Build
    scales: NDArray[np.float32] | None = None
    needs: tuple[ir.Node, ...] = field(default=())
    covers: frozenset[ir.Node] = field(default=frozenset())

    @property
    def layer(self) -> str:
        return self.node.name or self.node.op_type


@dataclass(frozen=True)
class Result:
    target: ir.Value
    affine: Affine
    clamp: tuple[int, int] | None
    quantized: bool


def result_of(node: ir.Node, may_stay_float: bool = False) -> Result:
    """Where a layer's result is quantized, with clamps on the way."""
    value, low, high = node.outputs[0], -np.inf, np.inf
    while True:
        uses = list(value.uses())
        user = uses[0].node if len(uses) == 1 and not value.is_graph_output() else None
        if user is not None and user.op_type == "QuantizeLinear" and user.domain == "":
            out = user.outputs[0]
            target = affine(user, out)
            return Result(out, target, _integers(low, high, target), True)
        if user is not None and user.domain == "" and user.op_type in ("Relu", "Clip"):
            least, most = bounds(user)
            low, high = max(low, least), min(high, most)
            value = user.outputs[0]
            continue
        if may_stay_float:
            return Result(node.outputs[0], Affine(1.0, 0, "int32"), None, False)
        raise Unfit("result stays float")


def keeps(source: ir.Value, before: Affine, result: Result) -> bool:
    """Whether what only picks elements of a map needs no arithmetic: one quantization, and no clamp of its own."""
    if result.affine != before:
        return False
    clamp = skip(source.producer(), "QuantizeLinear")
    same = clamp is not None and clamp.op_type in ("Clip", "Relu") and _integers(*bounds(clamp), before) == result.clamp
    return result.clamp is None or same


def bounds(node: ir.Node) -> tuple[float, float]:
    """The limits of a Relu or Clip."""
    if node.op_type == "Relu":
        return 0.0, np.inf
    found = []
    for place, otherwise in ((1, -np.inf), (2, np.inf)):
        value = node.inputs[place] if len(node.inputs) > place else None
        array = constant(value)
        if value is not None and array is None:
            raise Unfit("result is clamped to computed limits")
        found.append(otherwise if array is None else float(array.item()))
    return found[0], found[1]


def _integers(low: float, high: float, target: Affine) -> tuple[int, int] | None:
    least, most = target.limits
    ends = [
        int(np.clip(np.rint(bound / target.scale) + target.zero, least, most)) if np.isfinite(bound) else edge
        for bound, edge in ((low, least), (high, most))
    ]
    return None if ends == [least, most] else (ends[0], ends[1])


def skip(node: ir.Node | None, *kinds: str) -> ir.Node | None:
    """What a node of these kinds reads from; the node itself if it is of another kind."""
    if node is None or node.op_type not in kinds:
        return node
    value = node.inputs[0]
    return None if value is None else value.producer()
