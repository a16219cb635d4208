"""Register tiles on the GPU targets: whatever the shape, PoCL's numbers equal onnxruntime's."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import helper

import tilewright
from tests.models import make_model
from tests.targets.gpu import FLOAT, floats, needs_opencl
from tests.targets.running import check
from tilewright.targets import resolve

# Compiling and running one example takes a second or two, most of it in PoCL's compiler.
few = settings(max_examples=4, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.fixture(autouse=True)
def opencl() -> None:
    needs_opencl()


@few
@given(
    channels=st.integers(1, 9),
    out=st.sampled_from([1, 3, 4, 7, 8, 12]),
    size=st.tuples(st.integers(3, 15), st.integers(3, 15)),
    kernel=st.sampled_from([(1, 1), (3, 3), (1, 5), (2, 3)]),
    stride=st.integers(1, 3),
    padding=st.integers(0, 1),
    depthwise=st.booleans(),
)
def test_convolution(
    channels: int,
    out: int,
    size: tuple[int, int],
    kernel: tuple[int, int],
    stride: int,
    padding: int,
    depthwise: bool,
) -> None:
    size = (max(size[0], kernel[0]), max(size[1], kernel[1]))
    groups, out = (channels, channels) if depthwise else (1, out)
    node = helper.make_node("Conv", ["x", "w", "b"], ["c"], strides=[stride] * 2, pads=[padding] * 4, group=groups)
    weights = {"w": floats(out, channels // groups, *kernel), "b": floats(out, seed=1)}
    rows, columns = ((n + 2 * padding - k) // stride + 1 for n, k in zip(size, kernel, strict=True))
    shape = [1, out, rows, columns]
    model = make_model(
        [node, helper.make_node("LeakyRelu", ["c"], ["y"])],
        {"x": (FLOAT, [1, channels, *size])},
        {"y": (FLOAT, shape)},
        weights,
    )
    check(model, {"x": floats(1, channels, *size, seed=2)}, "mali-g52")


@few
@given(
    batch=st.integers(1, 3), m=st.integers(1, 17), k=st.integers(1, 40), n=st.integers(1, 33), transposed=st.booleans()
)
def test_matrix_product(batch: int, m: int, k: int, n: int, transposed: bool) -> None:
    nodes = [helper.make_node("MatMul", ["x", "z" if not transposed else "t"], ["y"])]
    if transposed:
        nodes.insert(0, helper.make_node("Transpose", ["z"], ["t"], perm=[0, 2, 1]))
    z = floats(batch, *((n, k) if transposed else (k, n)), seed=1)
    inputs = {"x": (FLOAT, [batch, m, k]), "z": (FLOAT, list(z.shape))}
    model = make_model(nodes, inputs, {"y": (FLOAT, [batch, m, n])})
    check(model, {"x": floats(batch, m, k), "z": z}, "mali-g52")


@few
@given(
    kind=st.sampled_from(["MaxPool", "AveragePool"]),
    channels=st.integers(1, 5),
    size=st.tuples(st.integers(4, 15), st.integers(4, 15)),
    kernel=st.integers(2, 4),
    stride=st.integers(1, 3),
)
def test_pooling(kind: str, channels: int, size: tuple[int, int], kernel: int, stride: int) -> None:
    node = helper.make_node(kind, ["x"], ["y"], kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=[1] * 4)
    shape = [1, channels, *((n + 2 - kernel) // stride + 1 for n in size)]
    model = make_model([node], {"x": (FLOAT, [1, channels, *size])}, {"y": (FLOAT, shape)})
    check(model, {"x": floats(1, channels, *size)}, "mali-g52")


def test_a_strided_window_is_not_held_in_registers() -> None:
    """A spectrogram's convolution: windows of 64 every 32 samples would take hundreds of registers."""
    node = helper.make_node("Conv", ["x", "w"], ["y"], strides=[32])
    model = make_model([node], {"x": (FLOAT, [1, 1, 160])}, {"y": (FLOAT, [1, 10, 4])}, {"w": floats(10, 1, 64)})
    check(model, {"x": floats(1, 1, 160)}, "mali-g52")
    (image,) = tilewright.compile(model, target="mali-g52").plan.modules[0].images
    arrays = [
        int(size)
        for line in image.data.decode().splitlines()
        if "_local_ptr[" in line and line.endswith("];")
        for size in [line.rsplit("[", 1)[1].rstrip("];")]
        if " float " in f" {line.strip()} " and "=" not in line
    ]
    assert arrays
    assert max(arrays) <= 20


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize(("kernel", "image", "lanes"), [(1, "x_ptr", 4), (3, "pad_temp_ptr", 2)])
def test_an_image_is_read_and_written_in_vectors(kernel: int, image: str, lanes: int, precision: str) -> None:
    """Windows of 3x3 for four pixels have six columns, in rows that padding made even."""
    node = helper.make_node("Conv", ["x", "w"], ["c"], pads=[kernel // 2] * 4)
    weights = {"w": floats(8, 4, kernel, kernel)}
    shapes = {"x": (FLOAT, [1, 4, 8, 8])}, {"y": (FLOAT, [1, 8, 8, 8])}
    model = make_model([node, helper.make_node("Relu", ["c"], ["y"])], *shapes, weights)
    (module,) = tilewright.compile(model, target=resolve("mali-g52", precision)).plan.modules
    dtype, source = {"fp32": "float", "fp16": "half"}[precision], module.images[0].data.decode()
    assert f"(__global const {dtype}{lanes}*){image}" in source
    assert "((__global float4*)" in source
    if precision == "fp32":
        check(model, {"x": floats(1, 4, 8, 8, seed=1)}, "mali-g52")
