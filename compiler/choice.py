"""Which format every weight gets: the one that the recipe names, or what the allocation of a budget chooses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import msgspec
import onnx_ir as ir

from tilewright.calibration import Calibration
from tilewright.errors import DataError, RecipeError
from tilewright.formats.base import Layout
from tilewright.formats.packed import PackedWeight, pack
from tilewright.formats.registry import Format, parse
from tilewright.passes.activation_plan import Rule
from tilewright.passes.allocate import Allocation, allocate, front, smallest, uniform
from tilewright.passes.calibrate import Statistics
from tilewright.passes.lowrank import RESIDUAL
from tilewright.passes.masks import detect
from tilewright.passes.sensitivity import Candidates, sensitivities
from tilewright.passes.weights import Weight, weights_in
from tilewright.recipe import DETECT, FLOAT, UNSTRUCTURED, Allocate, Recipe, Settings, format_of
from tilewright.report import FrontPoint
from tilewright.report_layers import Notes

_DENSE = "dense"


@dataclass(frozen=True)
class Choice:
    """What the weights of a graph become.

    Attributes:
        packed: by name of the weight; those that stay float are missing.
        front: of the allocation, if there is one; ``axis`` says what its sizes are (Report.front_axis).
        activations: bits of quantized activations that the allocation chose, by tensor (QuantizeActivations.depths).
    """

    packed: Mapping[str, PackedWeight]
    front: tuple[FrontPoint, ...] = ()
    activations: Mapping[str, int] = field(default_factory=dict)
    axis: Literal["weights", "traffic", "time"] = "weights"


def choose(
    graph: ir.Model,
    recipe: Recipe,
    feeds: Calibration | None,
    notes: Notes,
    rule: Rule = lambda node: None,
    statistics: Statistics | None = None,
) -> Choice:
    """Packs every weight of a pruned graph.

    Args:
        rule, statistics: of quantized activations, for budgets that choose their depths.

    Raises:
        DataError: weights that their formats cannot hold, all layers at once.
        RecipeError, AccuracyError: the allocation's budget cannot be kept.
    """
    chosen: dict[str, PackedWeight] = {}
    problems: list[str] = []
    for weight in weights_in(graph.graph):
        form = _format(recipe, weight)
        if form is None:
            continue
        try:
            packed = pack(weight.matrix, form)
        except DataError as error:
            problems.append(f"{weight.layer}: {error}")
            continue
        before = weight.array.nbytes
        if packed.nbytes >= before:
            notes.add(weight.layer, f"stays float: {form.codec.spec} would take {packed.nbytes:,} of {before:,} bytes")
            continue
        chosen[weight.value.name or ""] = packed
    if problems:
        raise DataError("weights cannot be encoded:\n" + "\n".join(f"  - {problem}" for problem in problems))
    if recipe.allocate is None:
        return Choice(chosen)
    if recipe.allocate.modelled:
        if feeds is None or statistics is None:
            raise RecipeError("allocate: no layer has activations that could be quantized")
        from tilewright.choice_modelled import choose_depths  # imports the frontend

        axis: Literal["traffic", "time"] = "time" if recipe.allocate.traffic_mb is None else "traffic"
        depths = choose_depths(graph, recipe, feeds, rule, statistics, _candidates(recipe, recipe.allocate))
        return Choice({**chosen, **depths.allocation.packed}, depths.points, depths.activations, axis)
    allocation, points = _allocate(graph, recipe, recipe.allocate, feeds)
    return Choice({**chosen, **allocation.packed}, points)


def settings_of(recipe: Recipe, weight: Weight) -> Settings:
    """What the recipe says about a weight; residuals of low-rank layers have a codec of their own."""
    settings = recipe.settings(weight.layer, weight.kind)
    residual = recipe.lowrank.residual if recipe.lowrank is not None else None
    if residual is not None and weight.layer.endswith(RESIDUAL):
        return msgspec.structs.replace(settings, codec=residual, allocated=False)
    return settings


def layout_of(settings: Settings) -> Layout | None:
    """The structure that pruning shall give, None for none."""
    return None if settings.layout in (UNSTRUCTURED, DETECT) else parse(settings.layout).layout


def _format(recipe: Recipe, weight: Weight) -> Format | None:
    """The format that the recipe gives a weight by name, None for float."""
    settings = settings_of(recipe, weight)
    layout = _stored_layout(recipe, settings, weight)
    if settings.allocated or (settings.codec == FLOAT and layout == _DENSE):
        return None
    return format_of(settings.codec, layout, settings.storage)


def _stored_layout(recipe: Recipe, settings: Settings, weight: Weight) -> str:
    """The spec of the layout that a pruned or masked weight has."""
    if not weight.prunable:
        return _DENSE
    if settings.layout == DETECT:
        return detect(weight.matrix).layout.spec
    layout = layout_of(settings)
    masked = recipe.prune is not None and recipe.prune.masks is not None
    return layout.spec if layout is not None and (settings.prunes or masked) else _DENSE


def _candidates(recipe: Recipe, budget: Allocate) -> Candidates:
    def candidates(weight: Weight) -> list[Format]:
        settings = settings_of(recipe, weight)
        if not settings.allocated:
            return []
        layout = _stored_layout(recipe, settings, weight)
        return [format_of(spec, layout, settings.storage) for spec in budget.specs]

    return candidates


def _allocate(
    graph: ir.Model, recipe: Recipe, budget: Allocate, feeds: Calibration | None
) -> tuple[Allocation, tuple[FrontPoint, ...]]:
    """Formats within the budget, and the front that they were taken from."""
    samples = None if feeds is None else feeds.evenly(budget.samples)
    table = sensitivities(graph, samples, _candidates(recipe, budget))
    if budget.max_error is not None:
        made = smallest(table, budget.max_error)
    else:
        made = allocate(table, cost=budget.bytes, bits=budget.bits)
    points = [FrontPoint(round(point.cost), point.error) for point in front(table)]
    for point in uniform(table):
        spec = point.uniform.removeprefix("dense ").removesuffix(" raw")
        points.append(FrontPoint(round(point.cost), point.error, uniform=spec))
    points.append(FrontPoint(round(made.cost), made.error, made.measured, chosen=True))
    return made, tuple(sorted(points, key=lambda point: point.bytes))
