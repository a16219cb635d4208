"""Compression as one function: ONNX in, smaller ONNX and a report out. Read it for the order of things.

    masks, pivot, equalise      the function of the network stays (masks are the user's own)
    coring, low rank            weights go
    calibrate                   what activations look like
    formats, encode             every weight gets a format: by the recipe, or by the allocation of a budget
    correct biases
    activations                 quantizers around integer layers
    gate                        accuracy before and after

Whatever comes out of a step is legal ONNX that onnxruntime runs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec
import onnx
import onnx_ir as ir

from tilewright import calibration as samples
from tilewright import passes
from tilewright.errors import AccuracyError, DataError, UsageError
from tilewright.formats.base import Layout
from tilewright.formats.layouts.block_sparse import BlockSparse
from tilewright.formats.packed import PackedWeight, pack
from tilewright.formats.registry import Format, parse
from tilewright.gate import measure
from tilewright.passes import pivot as pivoting
from tilewright.passes.allocate import Allocation, allocate, front, smallest
from tilewright.passes.calibrate import collect
from tilewright.passes.coring import Coring, Rule
from tilewright.passes.coupling import couple
from tilewright.passes.encode import Encode
from tilewright.passes.quantize_activations import QuantizeActivations, observed
from tilewright.passes.raise_opset import RaiseOpset
from tilewright.passes.sensitivity import sensitivities
from tilewright.passes.weights import Weight, all_weights, spaces_by_value
from tilewright.recipe import (
    DETECT,
    FLOAT,
    UNSTRUCTURED,
    Allocate,
    Recipe,
    RecipeLike,
    Settings,
    format_of,
    load_recipe,
)
from tilewright.report import FrontPoint, PivotReport, Report
from tilewright.report_layers import Notes, layers_of, onnx_file

PHASES = ("read", "prune", "calibrate", "formats", "encode", "activations", "measure")

Observer = Callable[[str, Callable[[], str]], None]


@dataclass(frozen=True)
class Compression:
    """A compressed network and what became of it."""

    model: ir.Model
    report: Report

    def to_proto(self) -> onnx.ModelProto:
        """The model as every ONNX tool reads it."""
        proto: onnx.ModelProto = ir.to_proto(self.model)
        return proto


def compress(
    model: Any,
    recipe: RecipeLike,
    *,
    shapes: Mapping[str, Sequence[int]] | None = None,
    calibration: samples.Source | None = None,
) -> onnx.ModelProto:
    """Compresses a model; parameters and errors are those of ``run``. onnxruntime runs the result."""
    return run(model, recipe, shapes=shapes, calibration=calibration).to_proto()


def _silent(phase: str, text: object) -> None:
    pass


def run(
    model: Any,
    recipe: RecipeLike,
    *,
    shapes: Mapping[str, Sequence[int]] | None = None,
    calibration: samples.Source | None = None,
    observe: Observer = _silent,
) -> Compression:
    """Compresses a model.

    Args:
        model: an ONNX file, a ModelProto or an onnx-ir model (left unchanged).
        recipe: a preset's name, a TOML file, a dict or a Recipe.
        shapes: the shape of each input with symbolic dimensions, by input name.
        calibration: samples of what the model will see (see calibration.py); quantized activations, allocation and
            whatever else measures needs them.
        observe: hears of every finished phase of ``PHASES``: name, and a function that renders the result as text.

    Raises:
        UsageError: wrong shapes, a wrong recipe, calibration data that are wrong, or missing where they are needed.
        ModelError: the model is damaged, or not supported.
        AccuracyError: the recipe's gate is missed.
    """
    settings = load_recipe(recipe)
    _need_calibration(settings, calibration)
    from tilewright import frontend  # TVM takes seconds to import: not before the arguments are checked

    return compress_graph(frontend.load(model, shapes or {}), settings, calibration, observe)


def compress_graph(
    graph: ir.Model, recipe: Recipe, calibration: samples.Source | None = None, observe: Observer = _silent
) -> Compression:
    """Like ``run``, for a normalised model, which it may change."""
    _need_calibration(recipe, calibration)
    graph = passes.run(graph, [RaiseOpset(_OPSET)])
    feeds = None if calibration is None else samples.load(calibration, samples.inputs_of(graph))

    def done(phase: str) -> None:
        observe(phase, lambda: onnx.printer.to_text(ir.to_proto(graph)))

    done("read")
    original, notes = graph.clone(), Notes()
    pivots = _pivot(graph, recipe)
    float_graph = graph.clone()  # the same function; channels are where they are in the result
    _core(graph, recipe)
    done("prune")
    statistics = None
    depth = _depths(graph, recipe)
    if feeds is not None and any(depth(node) for node in graph.graph):
        statistics = collect(graph, feeds, observed(graph, depth))
    done("calibrate")
    chosen, points = _choose(graph, recipe, feeds, notes)
    done("formats")
    encode = Encode(lambda weight: chosen.get(weight.value.name or ""))
    passes.run(graph, [encode])
    done("encode")
    if statistics is not None and recipe.quantize is not None:
        quantize = QuantizeActivations(depth, statistics, recipe.quantize.method, recipe.quantize.percentile)
        passes.run(graph, [quantize])
        notes.activations = {layer.layer: layer.bits for layer in quantize.layers}
        for fallback in quantize.fallbacks:
            notes.add(fallback.layer, f"activations stay float: {fallback.reason}")
    done("activations")
    report = Report(
        model=graph.graph.name or "",
        recipe=msgspec.to_builtins(recipe),
        layers=layers_of(graph, encode.layers, float_graph, feeds, notes),
        front=points,
        pivots=pivots,
    )
    report = report.with_file("onnx", *onnx_file(graph, report.layers))
    if recipe.accuracy is not None:
        report = replace(
            report, gate=measure(original, graph, recipe.path(recipe.accuracy.data), recipe.accuracy.max_drop)
        )
    done("measure")
    if report.gate is not None and not report.gate.holds:
        raise AccuracyError(report.gate.complaint)
    return Compression(graph, report)


_OPSET = 13  # of unpacking functions and of quantizers


def _need_calibration(recipe: Recipe, calibration: samples.Source | None) -> None:
    """Raises UsageError where the recipe measures and there is nothing to measure on; lists every key."""
    if calibration is not None:
        return
    wants = []
    if recipe.quantize is not None:
        wants += ["quantize.activations"] * (recipe.quantize.activations > 0)
        wants += ["quantize.correct_bias"] * recipe.quantize.correct_bias
        wants += ["quantize.rounding"] * (recipe.quantize.rounding == "adaptive")
    wants += ["allocate"] * (recipe.allocate is not None)
    wants += [f"layer[{place}].activations" for place, entry in enumerate(recipe.layer) if entry.activations]
    if wants:
        raise UsageError(
            f"the recipe needs calibration data for {', '.join(wants)}: give samples with --calib data.npz"
        )


def _settings(recipe: Recipe, weight: Weight) -> Settings:
    return recipe.settings(weight.layer, weight.kind)


def _weights(graph: ir.Model) -> list[Weight]:
    return list(all_weights(graph.graph, spaces_by_value(couple(graph.graph))))


def _layout(settings: Settings) -> Layout | None:
    """The structure that pruning shall give, None for none."""
    return None if settings.layout in (UNSTRUCTURED, DETECT) else parse(settings.layout).layout


def _pivot(graph: ir.Model, recipe: Recipe) -> tuple[PivotReport, ...]:
    if recipe.prune is None or not recipe.prune.pivot:
        return ()

    def blocks(weight: Weight) -> pivoting.Blocks | None:
        settings = _settings(recipe, weight)
        layout = _layout(settings)
        if settings.density is None or not settings.prunes or not isinstance(layout, BlockSparse):
            return None
        return pivoting.Blocks(layout.bh, layout.bw, settings.density)

    step = pivoting.Pivot(blocks)
    passes.run(graph, [step])
    return tuple(
        PivotReport(layer.layer, layer.unpivoted, layer.pivoted, layer.unstructured, layer.fixed)
        for layer in step.layers
    )


def _core(graph: ir.Model, recipe: Recipe) -> None:
    def rule(weight: Weight) -> Rule | None:
        settings = _settings(recipe, weight)
        if not settings.prunes:
            return None
        return Rule(settings.density, settings.threshold, _layout(settings))

    scope = recipe.prune.scope if recipe.prune is not None else "layer"
    passes.run(graph, [Coring(rule, scope)])


def _depths(graph: ir.Model, recipe: Recipe) -> Callable[[ir.Node], int | None]:
    """The depth of the activations that a node reads, None for float."""
    kinds = {weight.layer: weight.kind for weight in _weights(graph)}

    def depth(node: ir.Node) -> int | None:
        name = node.name or ""
        return recipe.settings(name, kinds.get(name)).activations or None

    return depth


def _choose(
    graph: ir.Model, recipe: Recipe, feeds: samples.Calibration | None, notes: Notes
) -> tuple[dict[str, PackedWeight], tuple[FrontPoint, ...]]:
    """What every weight is packed to, by name; weights that stay float are missing."""
    chosen: dict[str, PackedWeight] = {}
    problems: list[str] = []
    for weight in _weights(graph):
        form = _format(recipe, weight)
        if form is None:
            continue
        try:
            packed = pack(weight.matrix, form)
        except DataError as error:
            problems.append(f"{weight.layer}: {error}")
            continue
        before = 4 * packed.shape[0] * packed.shape[1]
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


def _allocate(
    graph: ir.Model, recipe: Recipe, budget: Allocate, feeds: samples.Calibration | None
) -> tuple[Allocation, tuple[FrontPoint, ...]]:
    """Formats within the budget, and the front that they were taken from."""

    def candidates(weight: Weight) -> list[Format]:
        settings = _settings(recipe, weight)
        if not settings.allocated:
            return []
        layout = _structure(settings, weight)
        return [format_of(spec, layout.spec if layout else "dense", settings.storage) for spec in budget.candidates]

    table = sensitivities(graph, feeds, candidates)
    if budget.max_error is not None:
        made = smallest(table, budget.max_error)
    else:
        made = allocate(table, cost=budget.bytes, bits=budget.bits)
    points = [FrontPoint(round(point.cost), point.error) for point in front(table)]
    points.append(FrontPoint(round(made.cost), made.error, made.measured, chosen=True))
    return made, tuple(sorted(points, key=lambda point: point.bytes))


def _structure(settings: Settings, weight: Weight) -> Layout | None:
    """The layout that a weight has after pruning, None if it is dense."""
    return _layout(settings) if settings.prunes and weight.prunable else None


def _format(recipe: Recipe, weight: Weight) -> Format | None:
    """The format that the recipe gives a weight by name, None for float."""
    settings = _settings(recipe, weight)
    layout = _structure(settings, weight)
    if settings.allocated or (settings.codec == FLOAT and layout is None):
        return None
    return format_of(settings.codec, layout.spec if layout is not None else "dense", settings.storage)
