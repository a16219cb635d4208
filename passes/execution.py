"""Runs a graph in onnxruntime: how passes see values."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir

from tilewright.errors import ModelError

Array = npt.NDArray[Any]
Feed = Mapping[str, Array]

_READABLE_IR = 13  # newest ONNX IR version that the pinned onnxruntime loads


def runner(model: ir.Model, names: Sequence[str] | None = None) -> Callable[[Feed], dict[str, Array]]:
    """A function that runs a model.

    Args:
        model: left unchanged.
        names: the values to compute, anywhere in the main graph; the model's outputs if None. Nodes that contribute to
            none of them are not run, and inputs that none of them depends on need not be fed.

    Raises:
        ModelError: onnxruntime cannot load the model; the function raises it where it cannot run it.
    """
    import onnxruntime as ort

    proto = ir.to_proto(model)
    proto.ir_version = min(proto.ir_version, _READABLE_IR)
    wanted = [output.name for output in proto.graph.output] if names is None else list(dict.fromkeys(names))
    direct = {value.name for value in proto.graph.input}.intersection(wanted)
    if names is not None:
        del proto.graph.output[:]
        proto.graph.output.extend(_information(model, name) for name in wanted if name not in direct)
        _prune(proto.graph)
    fetched = [output.name for output in proto.graph.output]
    options = ort.SessionOptions()
    options.log_severity_level = 3
    session = None
    if fetched:
        try:
            session = ort.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime has no common base class
            raise ModelError(f"onnxruntime cannot load the model: {_line(error)}") from error

    def run(feed: Feed) -> dict[str, Array]:
        found: dict[str, Array] = {name: np.asarray(feed[name]) for name in direct}
        if session is not None:
            known = {value.name for value in session.get_inputs()}
            try:
                values = session.run(fetched, {name: array for name, array in feed.items() if name in known})
            except Exception as error:
                raise ModelError(f"onnxruntime cannot run the model: {_line(error)}") from error
            found.update((name, np.asarray(value)) for name, value in zip(fetched, values, strict=True))
        return {name: found[name] for name in wanted}

    return run


def _prune(graph: onnx.GraphProto) -> None:
    """Removes nodes, constants and inputs that no output depends on."""
    needed = {output.name for output in graph.output}
    kept = []
    for node in reversed(graph.node):
        if needed.intersection(node.output):
            kept.append(node)
            needed.update(_reads(node))
    for field, items in (
        (graph.node, kept[::-1]),
        (graph.initializer, [tensor for tensor in graph.initializer if tensor.name in needed]),
        (graph.input, [value for value in graph.input if value.name in needed]),
    ):
        del field[:]
        field.extend(items)


def _reads(node: onnx.NodeProto) -> set[str]:
    """Names that a node reads, its subgraphs included."""
    names = set(node.input)
    for attribute in node.attribute:
        for graph in (*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])):
            for inner in graph.node:
                names |= _reads(inner)
            names.update(output.name for output in graph.output)
    return names


def _information(model: ir.Model, name: str) -> onnx.ValueInfoProto:
    values = ir.convenience.create_value_mapping(model.graph)
    if name not in values:
        raise ModelError(f"the graph has no value '{name}'")
    proto: onnx.ValueInfoProto = ir.to_proto(values[name])
    return proto


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:400]
