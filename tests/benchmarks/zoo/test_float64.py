"""Double-precision outputs, on a sum that float32 loses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx

from benchmarks.zoo.float64 import double_outputs
from benchmarks.zoo.graph import Graph


def test_keeps_what_float32_loses(tmp_path: Path) -> None:
    graph = Graph("cancel")
    x = graph.input("x", [1])
    x = graph.node("Cast", "cast", x, to=onnx.TensorProto.FLOAT)
    large = graph.weight("large", np.array([1e9], np.float32))
    back = graph.node("Sub", "y", graph.node("Add", "sum", x, large), large)
    onnx.save(graph.model({back: [1]}), tmp_path / "m.onnx")
    outputs = double_outputs(tmp_path / "m.onnx", {"x": np.array([1.5], np.float32)})
    assert outputs["y"].tolist() == [1.5]  # float32 gives 0: 1e9 + 1.5 rounds to 1e9


def test_global_max_pool_keeps_axes(tmp_path: Path) -> None:
    graph = Graph("pool")
    y = graph.node("GlobalMaxPool", "y", graph.input("x", [1, 2, 3]))
    onnx.save(graph.model({y: [1, 2, 1]}), tmp_path / "m.onnx")
    x = np.arange(6, dtype=np.float32).reshape(1, 2, 3)
    assert double_outputs(tmp_path / "m.onnx", {"x": x})["y"].tolist() == [[[2.0], [5.0]]]
