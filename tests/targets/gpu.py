"""Helpers of the GPU targets' tests: who can run OpenCL here, and small networks."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from tests.models import make_model
from tilewright.errors import ToolError
from tilewright.runtime import devices
from tilewright.targets.nvrtc import wheel_folder

FLOAT = TensorProto.FLOAT


def needs_opencl() -> None:
    """Skips the test where no OpenCL device is installed."""
    if not any(device.backend == "opencl" for device in devices()):
        pytest.skip("no OpenCL device; install one with: apt-get install pocl-opencl-icd")


def floats(*shape: int, seed: int = 0) -> np.ndarray:
    """Standard normal float32 numbers."""
    return np.random.default_rng(seed).standard_normal(shape).astype("float32")


def conv_and_dense() -> onnx.ModelProto:
    """A 3x3 convolution with bias and ReLU on 8x8x8, then a dense layer to 12."""
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["c"], name="conv", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["r"], name="relu"),
        helper.make_node("Flatten", ["r"], ["f"], name="flatten"),
        helper.make_node("Gemm", ["f", "w2", "b2"], ["y"], name="dense"),
    ]
    weights = {
        "w": floats(8, 8, 3, 3) / 8,
        "b": floats(8),
        "w2": floats(512, 12) / 20,
        "b2": floats(12),
    }
    return make_model(nodes, {"x": (FLOAT, [1, 8, 8, 8])}, {"y": (FLOAT, [1, 12])}, weights)


def residual_net() -> onnx.ModelProto:
    """Every kind of layer of the usual image networks, small.

    3x3, strided, 1x1 and depthwise convolutions, both pools, a residual sum, ReLU6, a dense layer and softmax.
    """
    nodes = [
        helper.make_node("Conv", ["x", "w1", "b1"], ["c1"], name="stem", pads=[1, 1, 1, 1], strides=[2, 2]),
        helper.make_node("Relu", ["c1"], ["r1"], name="relu1"),
        helper.make_node("MaxPool", ["r1"], ["p1"], name="pool", kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        helper.make_node("Conv", ["p1", "w2", "b2"], ["c2"], name="expand"),
        helper.make_node("Clip", ["c2", "zero", "six"], ["r2"], name="relu6"),
        helper.make_node("Conv", ["r2", "w3"], ["c3"], name="depthwise", pads=[1, 1, 1, 1], group=24),
        helper.make_node("Conv", ["c3", "w4", "b1"], ["c4"], name="project"),
        helper.make_node("Add", ["c4", "p1"], ["s"], name="sum"),
        helper.make_node("GlobalAveragePool", ["s"], ["g"], name="mean"),
        helper.make_node("Flatten", ["g"], ["f"], name="flatten"),
        helper.make_node("Gemm", ["f", "w5", "b5"], ["d"], name="dense", transB=1),
        helper.make_node("Softmax", ["d"], ["y"], name="softmax"),
    ]
    weights = {
        "w1": floats(8, 3, 3, 3, seed=1) / 5,
        "b1": floats(8, seed=2),
        "w2": floats(24, 8, 1, 1, seed=3) / 3,
        "b2": floats(24, seed=4),
        "w3": floats(24, 1, 3, 3, seed=5) / 3,
        "w4": floats(8, 24, 1, 1, seed=6) / 5,
        "w5": floats(10, 8, seed=7) / 3,
        "b5": floats(10, seed=8),
        "zero": np.array(0, "float32"),
        "six": np.array(6, "float32"),
    }
    return make_model(nodes, {"x": (FLOAT, [1, 3, 28, 28])}, {"y": (FLOAT, [1, 10])}, weights)


def gated_net() -> onnx.ModelProto:
    """Two convolutions with an activation between them that comes as a TIR kernel: x * HardSigmoid(x), as a gate."""
    nodes = [
        helper.make_node("Conv", ["x", "w1", "b1"], ["c"], name="first", pads=[1, 1, 1, 1]),
        helper.make_node("HardSigmoid", ["c"], ["g"], name="gate", alpha=0.25, beta=0.4),
        helper.make_node("Mul", ["c", "g"], ["m"], name="apply"),
        helper.make_node("Conv", ["m", "w2"], ["y"], name="second"),
    ]
    weights = {
        "w1": floats(8, 3, 3, 3, seed=1) / 5,
        "b1": floats(8, seed=2),
        "w2": floats(4, 8, 1, 1, seed=3) / 3,
    }
    return make_model(nodes, {"x": (FLOAT, [1, 3, 12, 12])}, {"y": (FLOAT, [1, 4, 12, 12])}, weights)


def needs_nvrtc() -> None:
    """Skips the test where NVIDIA's compiler wheels are not installed."""
    try:
        for package in ("cuda_nvrtc", "cuda_runtime", "cuda_cccl", "cuda_nvcc"):
            wheel_folder(package)
    except ToolError as error:
        pytest.skip(str(error))
