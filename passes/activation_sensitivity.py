"""What quantizing each activation alone would do to a network's outputs, at each depth.

As sensitivity.py measures weights: the error of an option is the deviation of the outputs (deviation.py) when one
group of values, those that share a quantizer (activation_plan.py), goes through a quantizer of that depth while
everything else stays float.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import onnx_ir as ir

from tilewright.passes.activation_plan import Rule, make_plan
from tilewright.passes.calibrate import Method, Statistics
from tilewright.passes.deviation import Deviation
from tilewright.passes.execution import Feed
from tilewright.passes.fake_quantize import fit


@dataclass(frozen=True)
class GroupSensitivity:
    """A group of values.

    Attributes:
        root: the value whose distribution decides.
        bits: what the rule says.
        errors: of the network, by depth.
    """

    root: str
    bits: int
    errors: dict[int, float]


def activation_sensitivities(
    model: ir.Model,
    feeds: Iterable[Feed],
    rule: Rule,
    statistics: Statistics,
    depths: Sequence[int],
    method: Method = "mse",
    percentile: float = 99.99,
    roots: Collection[str] | None = None,
) -> list[GroupSensitivity]:
    """Measures every group at each depth up to its rule's; groups that calibration saw nothing of are left out.

    Args:
        model: the float network, normalised; left unchanged.
        rule, statistics, method, percentile: as for QuantizeActivations.
        roots: of the groups that are wanted; None for all.

    Raises:
        DataError: no feed; NaN or infinity in the outputs.
    """
    groups = {}
    for group in make_plan(model.graph, rule).groups:
        name = group.root.name or ""
        seen = statistics.histograms.get(name) if roots is None or name in roots else None
        if seen is not None and seen.total and not seen.nonfinite and seen.minimum != seen.maximum:
            groups[name] = group
    found: dict[str, GroupSensitivity] = {}
    if not groups:
        return []
    for name, probe in Deviation(model, feeds).value_probes(list(groups)):
        bits, errors = groups[name].bits, {}
        for depth in sorted({*(depth for depth in depths if depth <= bits), bits}):
            quantizer = fit(*statistics.range(name, method, depth, percentile), depth)
            errors[depth] = probe(quantizer.apply)
        found[name] = GroupSensitivity(name, bits, errors)
    return [found[name] for name in groups]
