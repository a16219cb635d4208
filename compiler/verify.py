"""Checks a compiled model against onnxruntime, and finds the first layers that differ where it does not agree."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir

from tilewright.artifact import Artifact, Selftest
from tilewright.driver import ModelLike, compile
from tilewright.errors import DataError, ModelError
from tilewright.numeric import relative_l2, sample_inputs
from tilewright.recipe_loader import RecipeLike
from tilewright.report_layers import artifact_file
from tilewright.targets.base import Target

Tensors = Mapping[str, npt.NDArray[Any]]

# Relative L2 error against onnxruntime's fp32 that counts as agreement. fp32: sums of up to 10^4 terms in another order
# stay below 1e-5, and 1e-4 leaves room for approximations of exp and tanh through 50 layers. fp16: 2^-11 of rounding a
# value, through as many layers.
READABLE_IR = 13  # newest ONNX IR version that the pinned onnxruntime loads

TOLERANCE = {"fp32": 1e-4, "fp16": 2e-2}


@dataclass(frozen=True)
class Difference:
    """How far one tensor is from the reference: ``error`` is |got - want| / |want| in L2; integers count as floats."""

    name: str
    error: float
    tolerance: float

    @property
    def agrees(self) -> bool:
        return self.error <= self.tolerance  # False for NaN


@dataclass(frozen=True)
class Verification:
    """Outcome of a comparison. ``layers`` is filled, in graph order, only where an output differs."""

    outputs: tuple[Difference, ...]
    layers: tuple[Difference, ...] = ()

    @property
    def agrees(self) -> bool:
        return all(output.agrees for output in self.outputs)


def reference(model: onnx.ModelProto | str | os.PathLike[str], inputs: Tensors) -> dict[str, npt.NDArray[Any]]:
    """Runs a model in onnxruntime, one thread.

    Raises:
        ModelError: onnxruntime cannot load or run the model.
    """
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    proto = onnx.load(os.fspath(model)) if isinstance(model, str | os.PathLike) else model
    if proto.ir_version > READABLE_IR:  # newer IR versions only add what a model of a known opset does not use
        proto = onnx.ModelProto.FromString(proto.SerializeToString())
        proto.ir_version = READABLE_IR
    try:
        session = ort.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
        values = session.run(None, dict(inputs))
    except Exception as error:  # onnxruntime has no common base class
        raise ModelError(f"onnxruntime, the reference, cannot run this model: {error}") from error
    return {output.name: np.asarray(value) for output, value in zip(session.get_outputs(), values, strict=True)}


def verify(
    model: ModelLike,
    artifact: Artifact,
    target: str | Target,
    *,
    recipe: RecipeLike = None,
    shapes: Mapping[str, Sequence[int]] | None = None,
    inputs: Tensors | None = None,
) -> Verification:
    """Runs the artifact and onnxruntime on the same inputs; where outputs differ, compares every layer too.

    Args:
        model: what ``artifact`` was compiled from, with the same ``target``, ``recipe`` and ``shapes``.
        inputs: arrays by input name; random ones (``sample_inputs``) if None.

    Raises:
        DeviceError: the artifact's device is not here.
        ModelError: onnxruntime cannot run the model.
    """
    from tilewright import frontend

    graph = frontend.load(model, shapes or {})
    plan = artifact.plan
    feeds = dict(inputs) if inputs is not None else sample_inputs([plan.buffers[i] for i in plan.inputs])
    tolerance = TOLERANCE[str(artifact.metadata["target"]["precision"])]
    original = ir.to_proto(graph) if not isinstance(model, str | os.PathLike) else model
    outputs = _compare(reference(original, feeds), _run(artifact, feeds), tolerance)
    if all(output.agrees for output in outputs):
        return Verification(outputs)
    exposed = _expose_layers(graph)
    want = reference(exposed, feeds)
    got = _run(compile(exposed, target, recipe=recipe), feeds)
    return Verification(outputs, _compare(want, got, tolerance))


def with_selftest(model: ModelLike, artifact: Artifact) -> Artifact:
    """The artifact with random inputs and onnxruntime's outputs for them as its self-test."""
    feeds = sample_inputs([artifact.plan.buffers[index] for index in artifact.plan.inputs])
    tolerance = TOLERANCE[str(artifact.metadata["target"]["precision"])]
    source = ir.to_proto(model) if isinstance(model, ir.Model) else model
    made = dataclasses.replace(artifact, selftest=Selftest(feeds, reference(source, feeds), tolerance))
    if made.report is None:
        return made
    return dataclasses.replace(made, report=made.report.with_file("artifact", *artifact_file(made, made.report.layers)))


def _run(artifact: Artifact, feeds: Tensors) -> dict[str, npt.NDArray[Any]]:
    from tilewright.runtime import Session

    with Session(artifact.to_bytes()) as session:
        return dict(session.run(feeds))


def _compare(want: Tensors, got: Tensors, tolerance: float) -> tuple[Difference, ...]:
    missing = [name for name in want if name not in got]
    if missing:
        raise DataError(f"the artifact has no output {', '.join(missing)}")
    return tuple(Difference(name, relative_l2(got[name], value), tolerance) for name, value in want.items())


def _expose_layers(graph: ir.Model) -> onnx.ModelProto:
    """The model with every tensor that a node makes as an output, in graph order."""
    proto = ir.to_proto(graph)
    types = {value.name: value for value in (*proto.graph.value_info, *proto.graph.output)}
    names = [name for node in proto.graph.node for name in node.output if name in types]
    del proto.graph.output[:]
    proto.graph.output.extend(types[name] for name in names)
    return proto
