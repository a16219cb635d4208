"""Compression as one function: ONNX in, smaller ONNX and a report out. Read it for the order of things.

    masks, pivot, equalise,
    smooth                      the function of the network stays (masks are the user's own)
    coring, low rank            weights go
    calibrate                   what activations look like
    formats, rounding, encode   every weight gets a format: by the recipe, or by the allocation of a budget
    correct biases
    activations                 quantizers around integer layers
    gate                        accuracy before and after

Whatever comes out of a step is legal ONNX that onnxruntime runs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Any

import onnx
import onnx_ir as ir

from tilewright import calibration as samples
from tilewright import passes
from tilewright.choice import choose, layout_of, settings_of
from tilewright.errors import AccuracyError, DataError, RecipeError, UsageError
from tilewright.formats.codecs.astc import Astc, oracle
from tilewright.formats.layouts.block_sparse import BlockSparse
from tilewright.formats.packed import PackedWeight
from tilewright.formats.registry import parse
from tilewright.gate import measure
from tilewright.passes import coring, lowrank
from tilewright.passes import pivot as pivoting
from tilewright.passes.already_quantized import already_quantized
from tilewright.passes.calibrate import collect
from tilewright.passes.correct_bias import CorrectBias, ShiftBiases
from tilewright.passes.dynamic_activations import DynamicActivations
from tilewright.passes.encode import Encode
from tilewright.passes.equalize import Equalize
from tilewright.passes.masks import Masks, load_masks
from tilewright.passes.quantize_activations import QuantizeActivations, observed
from tilewright.passes.raise_opset import RaiseOpset
from tilewright.passes.round_sequence import round_in_sequence
from tilewright.passes.round_weights import Rounding, round_weights
from tilewright.passes.smooth import Smooth
from tilewright.passes.weights import Weight, check_finite, weights_in
from tilewright.recipe import FLOAT, Recipe
from tilewright.recipe_loader import RecipeLike, load_recipe
from tilewright.report import PivotReport, Report
from tilewright.report_layers import Notes, layers_of, onnx_file, output_errors

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
        ToolError: the recipe asks for an encoder that is not installed.
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
    if recipe.accuracy is not None and not recipe.path(recipe.accuracy.data).is_file():
        raise DataError(f"accuracy.data: there is no file {recipe.path(recipe.accuracy.data)}")
    _need_encoder(recipe)
    graph = passes.run(graph, [RaiseOpset(_OPSET)])
    feeds = None if calibration is None else samples.load(calibration, samples.inputs_of(graph))

    def done(phase: str) -> None:
        observe(phase, lambda: onnx.printer.to_text(ir.to_proto(graph)))

    done("read")
    check_finite(weights_in(graph.graph), "the network cannot be compressed")
    original, notes = graph.clone(), Notes()
    _mask(graph, recipe, notes)
    pivots = _pivot(graph, recipe)
    _equalize(graph, recipe)
    _smooth(graph, recipe, feeds)
    float_graph = graph.clone()  # the same function; channels are where they are in the result
    _split(graph, recipe, notes)
    _need_layers(recipe, original, graph)
    split_graph = graph.clone()
    _core(graph, recipe)
    done("prune")
    statistics = None
    depth = _depths(graph, recipe)
    dynamic = recipe.quantize is not None and recipe.quantize.dynamic
    results = recipe.quantize.results or None if recipe.quantize is not None else None
    if feeds is not None and not dynamic and any(depth(node) for node in graph.graph):
        statistics = collect(graph, feeds, observed(graph, depth, results))
    done("calibrate")
    choice = choose(graph, recipe, feeds, notes, depth, statistics)
    chosen = choice.packed
    rounding = _round(graph, recipe, chosen, feeds)
    if rounding is not None:
        chosen = rounding.packed
        for fallback in rounding.fallbacks:
            notes.add(fallback.layer, fallback.reason)
    done("formats")
    encode = Encode(lambda weight: chosen.get(weight.value.name or ""))
    passes.run(graph, [encode])
    if feeds is not None and recipe.quantize is not None and recipe.quantize.correct_bias:
        shifts = rounding.shifts if rounding is not None else {}
        passes.run(graph, [ShiftBiases(shifts) if shifts else CorrectBias(split_graph, feeds)])
    done("encode")
    if statistics is not None and recipe.quantize is not None:
        settings = recipe.quantize
        quantize = QuantizeActivations(
            depth, statistics, settings.method, settings.percentile, depths=choice.activations, results=results
        )
        passes.run(graph, [quantize])
        notes.activations = {layer.layer: layer.bits for layer in quantize.layers}
        for fallback in quantize.fallbacks:
            notes.add(fallback.layer, f"activations stay float: {fallback.reason}")
    if dynamic:
        step = DynamicActivations(depth)
        passes.run(graph, [step])
        notes.activations = dict.fromkeys(step.layers, 8)
    done("activations")
    report = Report(
        model=graph.graph.name or "",
        recipe=recipe.to_table(),
        layers=layers_of(graph, encode.layers, split_graph, notes, output_errors(graph, float_graph, feeds)),
        front=choice.front,
        front_axis=choice.axis,
        pivots=pivots,
        notes=tuple(f"{layer.layer}: {layer.reason}" for layer in already_quantized(original.graph)),
    )
    report = report.with_file("onnx", *onnx_file(graph, report.layers))
    if recipe.accuracy is not None:
        data = recipe.path(recipe.accuracy.data)
        report = replace(report, gate=measure(original, graph, data, recipe.accuracy.max_drop))
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
    dynamic = recipe.quantize is not None and recipe.quantize.dynamic
    if recipe.quantize is not None:
        wants += ["quantize.activations"] * (recipe.quantize.activations > 0 and not dynamic)
        wants += ["quantize.correct_bias"] * recipe.quantize.correct_bias
        wants += ["quantize.smooth"] * recipe.quantize.smooth
        wants += ["quantize.rounding"] * (recipe.quantize.rounding != "nearest")
    wants += ["allocate"] * (recipe.allocate is not None)
    if not dynamic:
        wants += [f"layer[{place}].activations" for place, entry in enumerate(recipe.layer) if entry.activations]
    if wants:
        raise UsageError(
            f"the recipe needs calibration data for {', '.join(wants)}: give samples with --calib data.npz"
        )


def _need_encoder(recipe: Recipe) -> None:
    """Raises ToolError, before any work, where the recipe asks for Arm's ASTC encoder and it is not installed."""
    specs = [recipe.codec, *(entry.weights or FLOAT for entry in recipe.layer)]
    specs += recipe.allocate.specs if recipe.allocate is not None else ()
    codecs = [parse(spec).codec for spec in specs if spec != FLOAT]
    if any(isinstance(codec, Astc) and codec.astcenc is not None for codec in codecs):
        oracle.load()


def _need_layers(recipe: Recipe, *graphs: ir.Model) -> None:
    """Raises RecipeError where entries name no layer of the network or of what became of it."""
    names = sorted({node.name for graph in graphs for node in graph.graph if node.name})
    lost = [
        f"layer[{place}].name: no layer is called '{entry.name}'{_nearest(entry.name, names)}"
        for place, entry in enumerate(recipe.layer)
        if not any(fnmatchcase(name, entry.name) for name in names)
    ]
    if lost:
        raise RecipeError("the recipe names layers that there are not\n" + "\n".join(f"  - {text}" for text in lost))


def _nearest(pattern: str, names: Sequence[str]) -> str:
    found = get_close_matches(pattern.strip("*"), names, 3, 0.5) or list(names[:3])
    return f"; there are {', '.join(found)}, ..." if found else ""


def _mask(graph: ir.Model, recipe: Recipe, notes: Notes) -> None:
    if recipe.prune is None or recipe.prune.masks is None:
        return
    step = Masks(load_masks(recipe.path(recipe.prune.masks)))
    passes.run(graph, [step])
    for layer in step.layers:
        if layer.masked:
            notes.add(layer.layer, f"masked: {layer.structure.density:.1%} of the weights are left")


def _pivot(graph: ir.Model, recipe: Recipe) -> tuple[PivotReport, ...]:
    if recipe.prune is None or not recipe.prune.pivot:
        return ()

    def blocks(weight: Weight) -> pivoting.Blocks | None:
        settings = settings_of(recipe, weight)
        layout = layout_of(settings)
        if settings.density is None or not settings.prunes or not isinstance(layout, BlockSparse):
            return None
        return pivoting.Blocks(layout.bh, layout.bw, settings.density)

    step = pivoting.Pivot(blocks)
    passes.run(graph, [step])
    return tuple(
        PivotReport(layer.layer, layer.unpivoted, layer.pivoted, layer.unstructured, layer.fixed)
        for layer in step.layers
    )


def _equalize(graph: ir.Model, recipe: Recipe) -> None:
    if recipe.quantize is not None and recipe.quantize.equalize:
        passes.run(graph, [Equalize()])


def _smooth(graph: ir.Model, recipe: Recipe, feeds: samples.Calibration | None) -> None:
    if feeds is not None and recipe.quantize is not None and recipe.quantize.smooth:
        passes.run(graph, [Smooth(_depths(graph, recipe), feeds)])


def _round(
    graph: ir.Model, recipe: Recipe, chosen: Mapping[str, PackedWeight], feeds: samples.Calibration | None
) -> Rounding | None:
    settings = recipe.quantize
    if feeds is None or settings is None or settings.rounding == "nearest":
        return None
    if settings.rounding == "sequential":
        return round_in_sequence(graph, chosen, feeds, settings.correct_bias)
    return round_weights(graph, chosen, feeds)


def _split(graph: ir.Model, recipe: Recipe, notes: Notes) -> None:
    wanted = recipe.lowrank
    if wanted is None:
        return
    rule = lowrank.Rule(wanted.rank, wanted.energy, residual=wanted.residual is not None)
    step = lowrank.Lowrank(lambda weight: rule if weight.prunable else None)
    passes.run(graph, [step])
    for layer in step.layers:
        if layer.rank:
            notes.add(layer.layer, f"rank {layer.rank}: {layer.energy:.1%} of the energy of {layer.before:,} weights")
        else:
            notes.add(layer.layer, f"not split: {layer.reason}")


def _core(graph: ir.Model, recipe: Recipe) -> None:
    def rule(weight: Weight) -> coring.Rule | None:
        settings = settings_of(recipe, weight)
        return coring.Rule(settings.density, settings.threshold, layout_of(settings)) if settings.prunes else None

    scope = recipe.prune.scope if recipe.prune is not None else "layer"
    passes.run(graph, [coring.Coring(rule, scope)])


def _depths(graph: ir.Model, recipe: Recipe) -> Callable[[ir.Node], int | None]:
    """The depth of the activations that a node reads, None for float."""
    kinds = {weight.layer: weight.kind for weight in weights_in(graph.graph)}

    def depth(node: ir.Node) -> int | None:
        name = node.name or ""
        return recipe.settings(name, kinds.get(name)).activations or None

    return depth
