"""Small ONNX models for tests, made on the spot."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = 17
IR_VERSION = 10  # of opset 17's time; any onnxruntime reads it


def make_model(
    nodes: list[onnx.NodeProto],
    inputs: dict[str, tuple[int, list[int | str]]],
    outputs: dict[str, tuple[int, list[int | str]]],
    constants: dict[str, np.ndarray] | None = None,
    opset: int = OPSET,
) -> onnx.ModelProto:
    """A checked model; inputs and outputs map a name to (TensorProto type, shape)."""
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in inputs.items()],
        [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in outputs.items()],
        [numpy_helper.from_array(value, name) for name, value in (constants or {}).items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=IR_VERSION)
    onnx.checker.check_model(model)
    return model


def small_cnn(batch: int | str = 1) -> onnx.ModelProto:
    """Conv, Relu, MaxPool, Flatten, Gemm, Softmax on 3x16x16 images."""
    rng = np.random.default_rng(0)
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["c"], name="conv.1", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["r"], name="relu.1"),
        helper.make_node("MaxPool", ["r"], ["p"], name="pool", kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Flatten", ["p"], ["f"], name="flatten"),
        helper.make_node("Gemm", ["f", "w2", "b2"], ["g"], name="fc", transB=1),
        helper.make_node("Softmax", ["g"], ["y"], name="softmax"),
    ]
    constants = {
        "w": rng.standard_normal((8, 3, 3, 3)).astype("float32") / 5,
        "b": rng.standard_normal(8).astype("float32"),
        "w2": rng.standard_normal((10, 512)).astype("float32") / 20,
        "b2": rng.standard_normal(10).astype("float32"),
    }
    image = (TensorProto.FLOAT, [batch, 3, 16, 16])
    return make_model(nodes, {"x": image}, {"y": (TensorProto.FLOAT, [batch, 10])}, constants)
