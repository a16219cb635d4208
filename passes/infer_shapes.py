"""Strict shape and type inference: an inconsistent graph is an error, not a warning."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import onnx
import onnx_ir as ir

from tilewright.errors import ModelError

_SMALL = 1024  # bytes; shape inference reads the data of small initializers (shapes, axes), never of weights


class InferShapes(ir.passes.InPlacePass):
    """Fills shape and dtype of every value, through onnx's inference in strict mode with data propagation."""

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        with _without_weights(model):
            proto = ir.to_proto(model)
        try:
            inferred = onnx.shape_inference.infer_shapes(proto, check_type=True, strict_mode=True, data_prop=True)
        except Exception as error:  # onnx raises RuntimeError, InferenceError, and protobuf's own
            raise ModelError(f"shape inference failed: {_tidy(error)}") from error
        modified = False
        for graph, other in zip(model.graphs(), ir.from_proto(inferred).graphs(), strict=True):
            known = ir.convenience.create_value_mapping(other)
            for name, value in ir.convenience.create_value_mapping(graph).items():
                modified |= name in known and _adopt(value, known[name])
        return ir.passes.PassResult(model, modified)


def _adopt(value: ir.Value, inferred: ir.Value) -> bool:
    modified = False
    if inferred.shape is not None and value.shape != inferred.shape:
        value.shape, modified = inferred.shape, True
    if inferred.type is not None and value.type != inferred.type:
        value.type, modified = inferred.type, True
    return modified


@contextlib.contextmanager
def _without_weights(model: ir.Model) -> Iterator[None]:
    """Presents large initializers as inputs, so that they are neither copied nor limited to protobuf's 2 GB."""
    graph, inputs = model.graph, list(model.graph.inputs)
    large = [v for v in graph.initializers.values() if v.const_value is not None and v.const_value.nbytes > _SMALL]
    for value in large:
        tensor = value.const_value
        assert tensor is not None
        value.shape = ir.Shape(tensor.shape.numpy())
        value.dtype = tensor.dtype
        del graph.initializers[value.name or ""]
        graph.inputs.append(value)
    try:
        yield
    finally:
        del graph.inputs[len(inputs) :]
        for value in large:
            graph.register_initializer(value)


def _tidy(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text.removeprefix("[ShapeInferenceError] ").removeprefix("[TypeInferenceError] ")
