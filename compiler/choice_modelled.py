"""Depths of weights and activations within a budget of traffic or time on a modelled accelerator.

The errors of weights (sensitivity.py) and of activations (activation_sensitivity.py) add up, and what each depth saves
is taken to, so that one knapsack chooses both. What weights save does add up once activations are chosen; what
activations save does not quite, for whether one stays on the chip depends on others: the model is asked again, and the
knapsack's budget corrected by what it was off. Then weights alone are refined on the whole network (allocate.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import onnx_ir as ir

from tilewright.calibration import Calibration
from tilewright.errors import RecipeError
from tilewright.formats.codecs.integer import Integer
from tilewright.formats.packed import PackedWeight
from tilewright.formats.registry import Format
from tilewright.lower.vbd.cost import Facts
from tilewright.modelled import Measure, Modelled, modelled
from tilewright.passes.activation_plan import Rule
from tilewright.passes.activation_sensitivity import GroupSensitivity, activation_sensitivities
from tilewright.passes.allocate import Allocation, allocate, uniform
from tilewright.passes.calibrate import Statistics
from tilewright.passes.knapsack import best, pareto
from tilewright.passes.sensitivity import Candidates, Sensitivities, sensitivities
from tilewright.passes.weights import Weight
from tilewright.recipe import Allocate, Recipe
from tilewright.report import FrontPoint
from tilewright.targets import model_facts

_ATTEMPTS = 8  # at the knapsack's budget
_MOST = 8  # bits of what is not chosen
_DEPTHS = range(4, _MOST + 1)


@dataclass(frozen=True)
class Depths:
    """What was chosen.

    Attributes:
        activations: bits by group; of those that are not there, the recipe's.
        points: the front, with bytes of traffic or nanoseconds for sizes.
    """

    allocation: Allocation
    activations: Mapping[str, int]
    points: tuple[FrontPoint, ...]


def choose_depths(
    graph: ir.Model,
    recipe: Recipe,
    feeds: Calibration,
    rule: Rule,
    statistics: Statistics,
    candidates: Candidates,
) -> Depths:
    """Chooses for a pruned float graph.

    Args:
        recipe: its allocation has a budget of traffic or time, and activations are quantized.
        rule, statistics: of quantized activations, see QuantizeActivations.

    Raises:
        RecipeError: the budget cannot be met; it says what the least is.
        UsageError: there is no model of the target.
    """
    assert recipe.allocate is not None
    assert recipe.quantize is not None
    budget, quantize = recipe.allocate, recipe.quantize
    facts = Facts.of(model_facts(budget.target))
    model = modelled(graph, rule, statistics, facts, _measure(budget, facts), quantize.results or None)
    samples = feeds.evenly(budget.samples)
    table = sensitivities(graph, samples, candidates)
    depths = budget.activations
    groups = activation_sensitivities(
        graph, samples, rule, statistics, depths, quantize.method, quantize.percentile, _worthwhile(model, min(depths))
    )
    return _Search(model, table, groups, budget).run()


def _worthwhile(model: Modelled, least: int) -> list[str]:
    """The activations that save something at the least depth; all others stay as deep as they may be."""
    whole = model.total(_MOST, {})
    return [root for root in sorted({*model.groups.values()}) if model.total(_MOST, {root: least}) < whole]


def _measure(budget: Allocate, facts: Facts) -> Measure:
    """What of a layer's cost the budget is about, in bytes or nanoseconds."""
    if budget.traffic_mb is not None:
        return lambda cost: cost.external
    return lambda cost: 1e9 * cost.cycles / facts.clock_hz


class _Search:
    def __init__(
        self, model: Modelled, table: Sensitivities, groups: Sequence[GroupSensitivity], budget: Allocate
    ) -> None:
        self.model = model
        self.groups = groups
        self.unit = "MB of traffic" if budget.traffic_mb is not None else "ms"
        self.limit = 1e6 * (budget.traffic_mb or budget.milliseconds or 0.0)
        self.table, self.rest = self._priced(table, {})
        whole = model.total(_MOST, {})
        self.changes = [
            {bits: model.total(_MOST, {group.root: bits}) - whole for bits in group.errors} for group in groups
        ]
        self.least = [min(change.values()) for change in self.changes]
        self.items = [[(option.cost, option.error) for option in layer.options] for layer in self.table.layers]
        for group, change, least in zip(groups, self.changes, self.least, strict=True):
            self.items.append([(change[bits] - least, error) for bits, error in group.errors.items()])

    def run(self) -> Depths:
        base = self.rest + sum(self.least)
        wanted = self.limit - base
        for _ in range(_ATTEMPTS):
            found = best(self.items, wanted)
            if found is None:
                break
            weights, activations = self._bits(found.choice)
            over = self.model.total(weights, activations) - self.limit
            if over <= 0:
                return self._depths(activations, base)
            wanted -= over
        return self._depths(self._bits(self._cheapest())[1], base)

    def _depths(self, activations: Mapping[str, int], base: float) -> Depths:
        table, rest = self._priced(self.table, activations)
        try:
            made = allocate(table, cost=self.limit - rest)
        except RecipeError:
            least = self.model.total(*self._bits(self._cheapest()))
            raise RecipeError(
                f"allocate: a budget of {self.limit / 1e6:g} {self.unit} cannot be met; the least that the candidates "
                f"allow is {least / 1e6:.4g} {self.unit}"
            ) from None
        return Depths(made, activations, self._points(made, rest, activations, base))

    def _points(
        self, made: Allocation, rest: float, activations: Mapping[str, int], base: float
    ) -> tuple[FrontPoint, ...]:
        points = [FrontPoint(round(base + point.size), point.error) for point in pareto(self.items)]
        deep = sum(group.errors[group.bits] for group in self.groups)
        for point in uniform(self.table):
            spec = point.uniform.removeprefix("dense ").removesuffix(" raw")
            points.append(FrontPoint(round(self.rest + point.cost), point.error + deep, uniform=spec))
        error = made.error + sum(group.errors[activations[group.root]] for group in self.groups)
        points.append(FrontPoint(round(rest + made.cost), error, chosen=True))
        return tuple(sorted(points, key=lambda point: point.bytes))

    def _priced(self, table: Sensitivities, activations: Mapping[str, int]) -> tuple[Sensitivities, float]:
        """The table with what the layers take, and what everything else does."""
        by_bits = {bits: self.model.by_layer(bits, activations) for bits in _DEPTHS}
        mine = {layer.layer for layer in table.layers} & self.model.layers

        def cost(weight: Weight, packed: PackedWeight) -> float:
            return by_bits[bits_of(packed.format)][weight.layer] if weight.layer in mine else 0.0

        return table.priced(cost), sum(value for layer, value in by_bits[_MOST].items() if layer not in mine)

    def _bits(self, choice: Sequence[int]) -> tuple[dict[str, int], dict[str, int]]:
        """Depths of weights by layer and of activations by group."""
        count = len(self.table.layers)
        options = self.table.options(choice[:count])
        weights = {
            layer.layer: bits_of(option.packed.format) for layer, option in zip(self.table.layers, options, strict=True)
        }
        depths = (list(group.errors)[index] for group, index in zip(self.groups, choice[count:], strict=True))
        return weights, dict(zip((group.root for group in self.groups), depths, strict=True))

    def _cheapest(self) -> list[int]:
        return [min(range(len(item)), key=lambda index: item[index]) for item in self.items]


def bits_of(form: Format) -> int:
    """The depth that the accelerator stores a weight at: of other forms than integers it makes 8 bits."""
    codec = form.codec
    return max(codec.bits, _DEPTHS[0]) if isinstance(codec, Integer) and not codec.group else _MOST
