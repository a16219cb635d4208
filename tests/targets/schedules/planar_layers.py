"""Layers whose lanes are rows or pixels, through the whole compiler: against onnxruntime on the compressed ONNX."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

import tilewright
from tilewright.runtime import Session


def layer(
    operator: str, x: tuple[int, ...], w: tuple[int, ...], out: tuple[int, ...], **attributes: int
) -> onnx.ModelProto:
    """One operator with a bias and Relu."""
    rng = np.random.default_rng(0)
    names = {"w": rng.standard_normal(w), "b": rng.standard_normal(w[0])}
    nodes = [
        helper.make_node(operator, ["x", "w", "b"], ["g"], name="layer", **attributes),
        helper.make_node("Relu", ["g"], ["y"], name="relu"),
    ]
    graph = helper.make_graph(
        nodes,
        "layer",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, x)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, out)],
        [numpy_helper.from_array(value.astype(np.float32), name) for name, value in names.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def product(rows: int, depth: int, outputs: int) -> onnx.ModelProto:
    return layer("Gemm", (rows, depth), (outputs, depth), (rows, outputs), transB=1)


def convolution(channels: int, height: int, width: int, outputs: int, kernel: int, pad: int) -> onnx.ModelProto:
    shape = (1, outputs, height + 2 * pad - kernel + 1, width + 2 * pad - kernel + 1)
    model = layer("Conv", (1, channels, height, width), (outputs, channels, kernel, kernel), shape)
    model.graph.node[0].attribute.append(helper.make_attribute("pads", [pad] * 4))
    return model


def check(model: onnx.ModelProto, device: str, block: str, codec: str, activations: int, density: float = 0.3) -> str:
    """Holds the compiled layer to onnxruntime's: 1e-6 relative L2, some units in the last place of float32 sums.

    Returns:
        The names of the kernels.
    """
    shape = [dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim]
    x = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
    recipe = {"prune": {"density": density, "layout": block, "pivot": False}, "quantize": {"weights": codec}}
    if activations:
        recipe["quantize"]["activations"] = activations
    small = tilewright.compress(model, recipe, calibration={"x": x})
    artifact = tilewright.compile(small, device)
    with Session(artifact.to_bytes(), threads=1) as session:
        got = session.run({"x": x})["y"]
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    rival = onnxruntime.InferenceSession(small.SerializeToString(), options, providers=["CPUExecutionProvider"])
    (want,) = rival.run(None, {"x": x})
    assert np.linalg.norm(got - want) <= 1e-6 * np.linalg.norm(want)
    return " ".join(launch.kernel for launch in artifact.plan.launches)
