"""Layers with compressed weights through the whole compiler: onnxruntime's answer, and nothing is unpacked at load."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper

import tilewright
from tests.models import make_model
from tests.passes.support import run as reference
from tests.targets.running import levels_here
from tilewright.artifact import Artifact
from tilewright.compression import compress
from tilewright.runtime import Session

Array = npt.NDArray[Any]

SPARSE = {"density": 0.25, "pivot": False}
DYNAMIC = {"activations": 8, "dynamic": True}
RECIPES: dict[str, dict[str, Any]] = {
    "16x1 fp32": {"prune": {**SPARSE, "layout": "block_sparse(16,1)"}},
    "4x4 f16": {"prune": {**SPARSE, "layout": "block_sparse(4,4)"}, "quantize": {"weights": "f16"}},
    "16x4 int8 dynamic": {
        "prune": {**SPARSE, "layout": "block_sparse(16,4)"},
        "quantize": {"weights": "int8", **DYNAMIC},
    },
    "16x4 int4 dynamic": {
        "prune": {**SPARSE, "layout": "block_sparse(16,4)"},
        "quantize": {"weights": "int4", **DYNAMIC},
    },
    "4x4 int5": {"prune": {**SPARSE, "layout": "block_sparse(4,4)"}, "quantize": {"weights": "int5"}},
    "8x8 int8 static": {
        "prune": {**SPARSE, "layout": "block_sparse(8,8)"},
        "quantize": {"weights": "int8", "activations": 8},
    },
    "int8 dynamic": {"quantize": {"weights": "int8", **DYNAMIC}},
    "int8 static": {"quantize": {"weights": "int8", "activations": 8}},
    "int4 g32 dynamic": {"quantize": {"weights": "int4(group=32)", **DYNAMIC}},
    "int3 dynamic": {"quantize": {"weights": "int3", **DYNAMIC}},
    "int4 asymmetric dynamic": {"quantize": {"weights": "int4(group=16,asymmetric)", **DYNAMIC}},
    "codebook": {"cluster": {"centroids": 16, "scaled": True}},
    "vbd dynamic": {"quantize": {"weights": "vbd(5)", **DYNAMIC}},
    "2:4 int8 static": {
        "prune": {"density": 0.5, "layout": "two_four"},
        "quantize": {"weights": "int8", "activations": 8},
    },
    "astc": {"quantize": {"weights": "astc(5,5)"}},
}
X = (2, 16, 9, 7)


def network() -> onnx.ModelProto:
    """3x3 convolution of stride 2 with padding, 1x1 with residual and clip, a flattened image, products either way."""
    rng = np.random.default_rng(0)

    def normal(*shape: int) -> Array:
        return (rng.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32)

    constants = {
        "w1": normal(48, 16, 3, 3), "b1": normal(48), "w2": normal(48, 48, 1, 1), "b2": normal(48),
        "low": np.float32(-1), "high": np.float32(1), "w3": normal(70, 48 * 5 * 4), "b3": normal(70),
        "w4": normal(70, 64),
    }  # fmt: skip
    nodes = [
        helper.make_node("Conv", ["x", "w1", "b1"], ["c1"], name="conv3x3", pads=[1, 1, 1, 1], strides=[2, 2]),
        helper.make_node("Relu", ["c1"], ["r1"], name="relu"),
        helper.make_node("Conv", ["r1", "w2", "b2"], ["c2"], name="conv1x1"),
        helper.make_node("Add", ["c2", "r1"], ["s"], name="residual"),
        helper.make_node("Clip", ["s", "low", "high"], ["clipped"], name="clip"),
        helper.make_node("Flatten", ["clipped"], ["f"], name="flatten"),
        helper.make_node("Gemm", ["f", "w3", "b3"], ["g"], name="gemm", transB=1),
        helper.make_node("MatMul", ["g", "w4"], ["y"], name="matmul"),
    ]
    image, result = (TensorProto.FLOAT, list(X)), (TensorProto.FLOAT, [2, 64])
    return make_model(nodes, {"x": image}, {"y": result}, constants)


def samples(count: int) -> Array:
    return np.random.default_rng(1).standard_normal((count, *X)).astype(np.float32)


@pytest.fixture(scope="module")
def compressed() -> dict[str, onnx.ModelProto]:
    """The network by recipe."""
    data = {"x": samples(4)}
    return {name: compress(network(), recipe, calibration=data) for name, recipe in RECIPES.items()}


def compiled(model: onnx.ModelProto, target: str, threads: int = 1) -> tuple[Artifact, Array]:
    artifact = tilewright.compile(model, target)
    with Session(artifact.to_bytes(), threads=threads) as session:
        return artifact, session.run({"x": samples(5)[4]})["y"]


def packed_kernels(artifact: Artifact) -> int:
    return sum("compressed" in launch.kernel or "astc" in launch.kernel for launch in artifact.plan.launches)


@pytest.mark.parametrize("name", RECIPES)
def test_equals_onnxruntime(compressed: dict[str, onnx.ModelProto], name: str) -> None:
    """2e-6 relative L2 where activations are float: float32 sums in another order. Where they are bytes, such a
    difference in front of a quantizer may flip a byte to its neighbour: 5e-3, half a step of 1/255 and a bit."""
    levels = levels_here()
    level = levels[list(RECIPES).index(name) % len(levels)]
    artifact, got = compiled(compressed[name], level)
    wanted = reference(ir.from_proto(compressed[name]), {"x": samples(5)[4]})[0]
    error = np.linalg.norm(got - wanted) / np.linalg.norm(wanted)
    quantized = "activations" in RECIPES[name].get("quantize", {})
    assert error <= (5e-3 if quantized else 2e-6)
    # Convolutions by a codebook would multiply floats: no faster than by unpacked weights. Nor are small ones by ASTC,
    # and where a table takes two registers (AVX2), no small layer is.
    unpacked = {"codebook": 2, "astc": 4 if level == "cpu-avx2" else 2}.get(name, 0)
    assert packed_kernels(artifact) >= 4 - unpacked
    assert len(artifact.plan.unpacked) == unpacked
    assert bool(artifact.plan.prologue) == bool(unpacked)


@pytest.mark.parametrize("name", ["16x1 fp32", "16x4 int8 dynamic", "int8 static"])
def test_launches_carry_the_name_of_their_layer(compressed: dict[str, onnx.ModelProto], name: str) -> None:
    """Not that of the step before. (A kernel also names what fusion put beside its layer.)"""
    launches = tilewright.compile(compressed[name], levels_here()[-1]).plan.launches
    layers = ["conv3x3", "conv1x1", "gemm", "matmul"]
    named = [[layer for layer in layers if layer in launch.layers] for launch in launches]
    assert [own for own, launch in zip(named, launches, strict=True) if "compressed" in launch.kernel] == [
        [layer] for layer in layers
    ]
    assert all(len(own) <= 1 for own in named)


@pytest.mark.parametrize("name", ["16x4 int8 dynamic", "int8 static"])
def test_threads_give_the_same(compressed: dict[str, onnx.ModelProto], name: str) -> None:
    target = levels_here()[-1]
    np.testing.assert_array_equal(*(compiled(compressed[name], target, threads)[1] for threads in (1, 2)))


def test_the_file_holds_packed_weights(compressed: dict[str, onnx.ModelProto]) -> None:
    """Values and index of int4 at a quarter of the weights: an eighth of a byte each, and the rest is small."""
    artifact, _ = compiled(compressed["16x4 int4 dynamic"], levels_here()[-1])
    weights = 48 * 16 * 9 + 48 * 48 + 70 * 960 + 70 * 64
    values = sum(size for name, size in artifact.sizes().constants.items() if name.endswith(".values"))
    assert weights / 8 <= values <= 1.2 * weights / 8  # 70 outputs fill up five block rows of 16


def test_depthwise_layers_of_one_shape_share_a_kernel() -> None:
    """Their scales are arguments, no part of the code."""
    random = np.random.default_rng(0)
    nodes, weights = [], {}
    for n in range(4):
        weights[f"w{n}"] = random.standard_normal((32, 1, 3, 3)).astype(np.float32) * (n + 1)
        nodes += [
            helper.make_node("Conv", [f"x{n}", f"w{n}"], [f"c{n}"], name=f"dw{n}", group=32, pads=[1] * 4),
            helper.make_node("Relu", [f"c{n}"], [f"x{n + 1}"]),
        ]
    image = TensorProto.FLOAT, [1, 32, 12, 12]
    model = make_model(nodes, {"x0": image}, {"x4": image}, weights)
    x = random.standard_normal((1, 32, 12, 12)).astype(np.float32)
    small = compress(model, {"quantize": {"weights": "int8", "activations": 8}}, calibration={"x0": x})
    plan = tilewright.compile(small, levels_here()[-1]).plan
    kernels = [launch.kernel for launch in plan.launches if "depthwise" in launch.kernel]
    assert len(kernels) == 4
    assert kernels[1] == kernels[2]  # the first and the last have other neighbours


def test_without_an_integer_instruction_weights_stay_packed() -> None:
    """cpu-neon has no dot product: sparse layers compute in floats from int8 all the same."""
    artifact = tilewright.compile(compress(network(), RECIPES["16x4 int8 dynamic"]), "cpu-neon")
    assert packed_kernels(artifact) >= 3
