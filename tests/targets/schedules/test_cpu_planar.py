"""Layers whose lanes are rows or pixels, through the whole compiler: against onnxruntime on the compressed ONNX."""

from __future__ import annotations

import math

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

import tilewright
from tests.targets.running import levels_here
from tilewright.runtime import Session
from tilewright.targets.schedules import cpu_packed_layers
from tilewright.targets.schedules.cpu_planar import Planar, offsets, planar

BLOCKS = ["block_sparse(16,1)", "block_sparse(4,4)", "block_sparse(8,2)", "block_sparse(16,4)", "block_sparse(1,16)"]
CODECS = ["f32", "f16", "int8", "int4", "int7"]


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


@pytest.mark.parametrize("activations", [0, 8])
@pytest.mark.parametrize("level", [0, 1, 2])
def test_products(level: int, activations: int) -> None:
    levels = levels_here()
    device = levels[level % len(levels)]

    @settings(max_examples=4, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
    @given(
        st.sampled_from([9, 16, 17, 33]),
        st.sampled_from([64, 70, 128]),
        st.integers(1, 70),
        st.sampled_from(BLOCKS),
        st.sampled_from(CODECS),
    )
    def property_holds(rows: int, depth: int, outputs: int, block: str, codec: str) -> None:
        check(product(rows, depth, outputs), device, block, codec, activations)

    property_holds()


@pytest.mark.parametrize("activations", [0, 8])
@pytest.mark.parametrize("level", [0, 1, 2])
def test_convolutions(level: int, activations: int) -> None:
    levels = levels_here()
    device = levels[level % len(levels)]

    @settings(max_examples=4, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
    @given(
        st.sampled_from([16, 32]),
        st.sampled_from([(1, 20), (17, 19), (14, 14), (9, 33), (5, 24), (6, 36)]),
        st.integers(1, 40),
        st.sampled_from([(1, 0), (3, 1), (3, 0)]),
        st.sampled_from(BLOCKS),
        st.sampled_from(CODECS),
    )
    def property_holds(
        channels: int, image: tuple[int, int], outputs: int, kernel: tuple[int, int], block: str, codec: str
    ) -> None:
        if image[0] + 2 * kernel[1] >= kernel[0]:
            check(convolution(channels, *image, outputs, *kernel), device, block, codec, activations)

    property_holds()


def test_lonely_convolutions_and_batches_take_this_kernel() -> None:
    device = levels_here()[-1]
    assert "planar" in check(product(16, 64, 32), device, "block_sparse(16,1)", "f32", 0)
    assert "planar" in check(convolution(16, 14, 20, 32, 3, 1), device, "block_sparse(16,4)", "int8", 8)
    assert "planar" not in check(product(1, 64, 32), device, "block_sparse(16,1)", "f32", 0)


def test_one_block_and_all_blocks() -> None:
    device = levels_here()[-1]
    for density in (0.01, 0.6):
        check(product(16, 256, 48), device, "block_sparse(16,4)", "int4", 8, density)


@pytest.mark.parametrize("activations", [0, 8])
@pytest.mark.parametrize(
    ("height", "width", "kernel", "pad"), [(14, 14, 3, 1), (16, 16, 3, 0), (1, 9, 1, 0), (14, 14, 1, 0), (9, 33, 3, 1)]
)
def test_no_vector_reaches_past_the_image(
    monkeypatch: pytest.MonkeyPatch, height: int, width: int, kernel: int, pad: int, activations: int
) -> None:
    """Rows that are shorter than a register included: what lies behind an image may be nobody's memory."""
    ends: list[int] = []

    def spy(layer: Planar) -> object:
        b, w = layer.blocks, layer.window
        assert w is not None
        length = layer.rows if layer.is_flat else w.out_width
        pixel = max(0, length - b.lanes) + (0 if layer.is_flat else (w.out_height - 1) * w.width)
        last_word = (b.bw // b.word - 1) * layer.plane
        end = max(offsets(layer)) + last_word + (pixel + b.lanes) * b.word
        ends.append(math.prod(layer.data_shape) - end)
        return planar(layer)

    monkeypatch.setattr(cpu_packed_layers, "planar", spy)
    model = convolution(16, height, width, 32, kernel, pad)
    check(model, levels_here()[-1], "block_sparse(16,4)", "int8", activations)
    assert len(ends) == 1
    assert ends[0] >= 0
