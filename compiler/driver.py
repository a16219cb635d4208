"""The compiler as one function: ONNX in, Artifact out. Read it for the order of things."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import onnx
import onnx_ir as ir

from tilewright import __version__
from tilewright.artifact import Artifact
from tilewright.calibration import Source
from tilewright.compression import compress_graph
from tilewright.lower.pipeline import Observer
from tilewright.lower.tvm_setup import check_versions, fast_tvmscript
from tilewright.plan import Plan
from tilewright.recipe import FLOAT, Recipe
from tilewright.recipe_loader import RecipeLike, load_recipe
from tilewright.report import Report
from tilewright.report_layers import artifact_file, uncompressed
from tilewright.targets import resolve
from tilewright.targets.base import Target

if TYPE_CHECKING:
    from tilewright.frontend.quantized import Offload

PHASES = ("start", "normalise", "import", "prepare", "fuse", "schedule", "codegen", "plan")

ModelLike = str | os.PathLike[str] | onnx.ModelProto | ir.Model


def _silent(phase: str, text: object) -> None:
    pass


def compile(
    model: ModelLike,
    target: str | Target = "cpu",
    *,
    recipe: RecipeLike = None,
    shapes: Mapping[str, Sequence[int]] | None = None,
    calibration: Source | None = None,
    observe: Observer = _silent,
) -> Artifact:
    """Compiles a model for a target.

    Args:
        model: an ONNX file, a ModelProto or an onnx-ir model (left unchanged).
        target: a target's name (``tilewright targets`` lists them) or a Target.
        recipe: a preset's name, a TOML file, a dict or a Recipe.
        shapes: the shape of each input with symbolic dimensions, by input name.
        calibration: samples of what the model will see, where the recipe needs them (see calibration.py).
        observe: hears of every finished phase of ``PHASES``, after those of compression: name, and a function that
            renders the result as text.

    Raises:
        UsageError: unknown target, wrong shapes, wrong recipe, wrong or missing calibration data.
        ModelError: the model is damaged, or not supported (``UnsupportedError`` lists every reason).
        AccuracyError: the recipe's gate is missed.
        ToolError: an external compiler or linker is missing or failed.
    """
    check_versions()
    from tilewright import frontend  # TVM takes seconds to import: not before the arguments are checked
    from tilewright.lower import pipeline

    settings = load_recipe(recipe)
    chosen = resolve(target, settings.precision) if isinstance(target, str) else target
    observe("start", str)
    graph = frontend.load(model, shapes or {})
    compressed = compress_graph(graph, settings, calibration, observe) if settings.compresses else None
    if compressed is not None:
        graph = frontend.load(compressed.model)
    observe("normalise", lambda: onnx.printer.to_text(ir.to_proto(graph)))
    parts = _offload(graph, chosen)
    with fast_tvmscript():
        mod, packed = frontend.to_relax(graph if parts is None else parts.model)
        observe("import", lambda: str(mod.script(show_meta=False)))
        inputs = [str(value.name) for value in graph.graph.inputs]
        outputs = [str(value.name) for value in graph.graph.outputs]
        plan = pipeline.lower(mod, chosen, inputs, outputs, observe, packed)
    report = compressed.report if compressed is not None else uncompressed(graph)
    metadata = _metadata(graph, chosen, settings, report) | {"operations": _operations(plan)}
    if parts is not None:
        metadata["nna"] = parts.table()
    artifact = Artifact(plan, metadata, graph=graph)
    return replace(artifact, report=report.with_file("artifact", *artifact_file(artifact, report.layers)))


def _offload(graph: ir.Model, target: Target) -> Offload | None:
    """What an accelerator takes of a network; None for targets that run it all themselves."""
    name = target.device.facts.get("accelerator")
    if name is None:
        return None
    from tilewright.frontend.quantized import offload
    from tilewright.lower.accelerators import accelerator

    chosen = accelerator(str(name))
    return offload(graph, chosen.compile, chosen.capabilities)


def _operations(plan: Plan) -> dict[str, list[int]]:
    """Of every launch, for ``tilewright inspect``."""
    return {
        "prologue": [launch.operations for launch in plan.prologue],
        "launches": [launch.operations for launch in plan.launches],
    }


def _metadata(graph: ir.Model, target: Target, recipe: Recipe, report: Report) -> dict[str, Any]:
    packages = ("apache-tvm", "apache-tvm-ffi", "onnx", "onnx-ir", "onnxscript", "numpy")
    return {
        "model": {"name": graph.graph.name or "", "opset": graph.opset_imports.get("")},
        "target": {"name": target.device.name, "family": target.family, "precision": target.precision},
        "device": dict(target.device.facts),
        "recipe": recipe.to_table(),
        "formats": {layer.weight: layer.format for layer in report.layers if layer.format != FLOAT},
        "tools": {
            "tilewright": __version__,
            "python": platform.python_version(),
            **{name: importlib.metadata.version(name) for name in packages},
        },
    }
