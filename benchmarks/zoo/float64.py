"""A model's outputs in double precision, by ONNX's reference evaluator: who is right where two fp32 runtimes differ.

Slow (NumPy, no blocking): for small models and single samples.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun

from benchmarks.zoo.base import Array

FLOAT, DOUBLE = TensorProto.FLOAT, TensorProto.DOUBLE


class GlobalMaxPool(OpRun):
    """ONNX's own evaluator drops the pooled axes; the standard keeps them."""

    op_domain = ""

    def _run(self, x: Array) -> tuple[Array]:
        return (x.max(axis=tuple(range(2, x.ndim)), keepdims=True),)


def double_outputs(path: Path, feeds: dict[str, Array]) -> dict[str, Array]:
    """The outputs of a model with every float32 weight, constant, cast and input in float64."""
    model = onnx.load(path)
    for tensor in model.graph.initializer:
        _widen(tensor)
    for node in model.graph.node:
        for attribute in node.attribute:
            if attribute.name == "to" and attribute.i == FLOAT:
                attribute.i = DOUBLE
            elif attribute.type == onnx.AttributeProto.TENSOR:
                _widen(attribute.t)
    del model.graph.value_info[:]
    for value in [*model.graph.input, *model.graph.output]:
        if value.type.tensor_type.elem_type == FLOAT:
            value.type.tensor_type.elem_type = DOUBLE
    wide = {name: x.astype(np.float64) if x.dtype == np.float32 else x for name, x in feeds.items()}
    values: Any = ReferenceEvaluator(model, new_ops=[GlobalMaxPool]).run(None, wide)
    return {output.name: np.asarray(value) for output, value in zip(model.graph.output, values, strict=True)}


def _widen(tensor: onnx.TensorProto) -> None:
    if tensor.data_type == FLOAT:
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float64), tensor.name))
