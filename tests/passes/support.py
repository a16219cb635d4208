"""Every pass is judged by onnxruntime: the model computes the same before and after it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir
import onnxruntime

Feeds = Mapping[str, npt.NDArray[Any]]


def parse(text: str) -> ir.Model:
    """A model in onnx's textual form; the header is added."""
    proto = onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["" : 21]> {text}')
    return ir.from_proto(proto)


def run(model: ir.Model, feeds: Feeds) -> list[npt.NDArray[Any]]:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        ir.to_proto(model).SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    known = {value.name for value in session.get_inputs()}
    return list(session.run(None, {name: value for name, value in feeds.items() if name in known}))


def check(step: ir.passes.PassBase, model: ir.Model, feeds: Feeds, rtol: float = 0.0) -> ir.Model:
    """Applies a pass; onnx's checker accepts the result and onnxruntime computes what it computed before.

    ``rtol`` is 0 for passes that only move or remove nodes, and 1e-6 where they compute in another order in float32.
    """
    before = run(model, feeds)
    names = [value.name for value in model.graph.outputs]
    result = step(model).model
    onnx.checker.check_model(ir.to_proto(result), full_check=True)
    assert [value.name for value in result.graph.outputs] == names
    for wanted, got in zip(before, run(result, feeds), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=rtol, atol=rtol)
    return result


def operators(model: ir.Model) -> Counter[str]:
    return Counter(node.op_type for node in model.graph)


def normal(*shape: int) -> npt.NDArray[np.float32]:
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)
