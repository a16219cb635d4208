"""Which format every weight gets: the one that the recipe names, or what the allocation of a budget chooses."""

from __future__ import annotations

import msgspec
import onnx_ir as ir

from tilewright.calibration import Calibration
from tilewright.errors import DataError
from tilewright.formats.base import Layout
from tilewright.formats.packed import PackedWeight, pack
from tilewright.formats.registry import Format, parse
from tilewright.passes.allocate import Allocation, allocate, front, smallest, uniform
from tilewright.passes.lowrank import RESIDUAL
from tilewright.passes.masks import detect
from tilewright.passes.sensitivity import sensitivities
from tilewright.passes.weights import Weight, weights_in
from tilewright.recipe import DETECT, FLOAT, UNSTRUCTURED, Allocate, Recipe, Settings, format_of
from tilewright.report import FrontPoint
from tilewright.report_layers import Notes

_DENSE = "dense"

Choice = dict[str, PackedWeight]  # by name of the weight; those that stay float are missing


def choose(
    graph: ir.Model, recipe: Recipe, feeds: Calibration | None, notes: Notes
) -> tuple[Choice, tuple[FrontPoint, ...]]:
    """Packs every weight of a pruned graph.

    Returns:
        The packed weights, and the front of the allocation, if there is one.

    Raises:
        DataError: weights that their formats cannot hold, all layers at once.
        RecipeError, AccuracyError: the allocation's budget cannot be kept.
    """
    chosen: Choice = {}
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
        return chosen, ()
    allocation, points = _allocate(graph, recipe, recipe.allocate, feeds)
    return {**chosen, **allocation.packed}, points


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


def _allocate(
    graph: ir.Model, recipe: Recipe, budget: Allocate, feeds: Calibration | None
) -> tuple[Allocation, tuple[FrontPoint, ...]]:
    """Formats within the budget, and the front that they were taken from."""

    def candidates(weight: Weight) -> list[Format]:
        settings = settings_of(recipe, weight)
        if not settings.allocated:
            return []
        layout = _stored_layout(recipe, settings, weight)
        return [format_of(spec, layout, settings.storage) for spec in budget.candidates]

    table = sensitivities(graph, None if feeds is None else feeds.evenly(budget.samples), candidates)
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
