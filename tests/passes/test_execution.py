"""Values anywhere in a graph, as onnxruntime computes them."""

from __future__ import annotations

import numpy as np
import pytest

from tests.passes.support import parse
from tilewright.errors import ModelError
from tilewright.passes.execution import runner

GRAPH = "g (float[2] x, float[2] z) => (float[2] y) { a = Neg(x)  b = Abs(a)  y = Add(b, z) }"
X = {"x": np.array([1, -2], np.float32), "z": np.array([1, 1], np.float32)}


def test_outputs_inner_values_and_inputs() -> None:
    model = parse(GRAPH)
    assert {name: value.tolist() for name, value in runner(model)(X).items()} == {"y": [2, 3]}
    model.graph[0].outputs[0].type = None  # onnxruntime infers what the graph does not say
    found = runner(model, ["a", "x", "a", "y"])(X)
    assert {name: value.tolist() for name, value in found.items()} == {"a": [-1, 2], "x": [1, -2], "y": [2, 3]}
    assert [value.name for value in model.graph.outputs] == ["y"]
    assert runner(model, ["x"])(X)["x"].tolist() == [1, -2]


def test_only_what_contributes_is_run() -> None:
    model = parse(
        """g (float[2] x, bool c) => (float[2] y) <float[2] w = {3, 4}> {
            d = Neg(w)  z = Abs(x)
            y = If(c) <then_branch = t () => (float[2] p) { p = Neg(z) },
                       else_branch = e () => (float[2] q) { q = Mul(z, w) }>
        }"""
    )
    assert runner(model, ["d"])({})["d"].tolist() == [-3, -4]
    found = runner(model, ["y"])({"x": X["x"], "c": np.array(False)})
    assert found["y"].tolist() == [3, 8]  # z and w are read by a branch alone
    assert len(model.graph) == 3


def test_errors_are_ours() -> None:
    with pytest.raises(ModelError, match="no value 'w'"):
        runner(parse(GRAPH), ["w"])
    with pytest.raises(ModelError, match="cannot run"):
        runner(parse(GRAPH))({"x": X["x"]})
    with pytest.raises(ModelError, match="cannot load"):
        runner(parse("g (float[2] x) => (float[2] y) { y = Nonsense(x) }"))
