"""Depthwise convolution and pooling on the cpu against onnxruntime, over drawn shapes."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from tests.models import make_model
from tests.targets.running import check, levels_here, run
from tests.targets.schedules.test_cpu_conv import conv_model, feeds


def pool_model(op: str, shape: tuple[int, ...], **attributes: Any) -> onnx.ModelProto:
    """A 1x1 convolution (which makes the network channels-last), then the pooling."""
    channels = shape[1]
    weight = np.random.default_rng(2).standard_normal((channels, channels, 1, 1), dtype=np.float32)
    nodes = [helper.make_node("Conv", ["x", "w"], ["c"]), helper.make_node(op, ["c"], ["y"], **attributes)]
    inputs: dict[str, tuple[int, list[int | str]]] = {"x": (TensorProto.FLOAT, list(shape))}
    kernel, strides, pads = attributes["kernel_shape"], attributes["strides"], attributes["pads"]
    dilations = attributes.get("dilations", [1, 1])
    size = [
        (shape[2 + i] + pads[i] + pads[2 + i] - (kernel[i] - 1) * dilations[i] - 1) // strides[i] + 1 for i in range(2)
    ]
    return make_model(nodes, inputs, {"y": (TensorProto.FLOAT, [*shape[:2], *size])}, {"w": weight}, opset=19)


@st.composite
def pools(draw: st.DrawFn) -> tuple[onnx.ModelProto, tuple[int, ...]]:
    op = draw(st.sampled_from(["MaxPool", "AveragePool"]))
    kernel = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    dilations = draw(st.tuples(st.integers(1, 2), st.integers(1, 2))) if op == "MaxPool" else (1, 1)
    pads = draw(st.tuples(*(st.integers(0, k - 1) for k in kernel * 2)))
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    size = [draw(st.integers(max(1, r - pads[i] - pads[2 + i]), 12)) for i, r in enumerate(reach)]
    shape = (draw(st.integers(1, 2)), draw(st.integers(1, 50)), *size)
    attributes = {"kernel_shape": kernel, "strides": draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))}
    attributes["pads"] = pads
    if op == "MaxPool":
        attributes["dilations"] = dilations
    else:
        attributes["count_include_pad"] = draw(st.integers(0, 1))
    return pool_model(op, shape, **attributes), shape


@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(pools(), st.integers(0, 2))
def test_pooling_equals_onnxruntime(case: tuple[onnx.ModelProto, tuple[int, ...]], level: int) -> None:
    model, shape = case
    levels = levels_here()
    check(model, feeds(shape), levels[level % len(levels)])


@pytest.mark.parametrize("channels", [1, 7, 16, 24, 33, 64])
@pytest.mark.parametrize(("kernel", "stride", "dilation"), [(3, 1, 1), (3, 2, 1), (5, 1, 2), (1, 2, 1)])
def test_depthwise_equals_onnxruntime(channels: int, kernel: int, stride: int, dilation: int) -> None:
    shape = (1, channels, 11, 9)
    pad = (kernel - 1) * dilation // 2
    model = conv_model(
        shape,
        channels,
        (kernel, kernel),
        (stride, stride),
        (pad, pad, pad, pad),
        (dilation, dilation),
        groups=channels,
        activation="HardSwish",
    )
    check(model, feeds(shape), levels_here()[channels % len(levels_here())])


def test_maximum_of_minus_infinity() -> None:
    """Padding loses even against -inf (onnxruntime gives -FLT_MAX there, so the reference is written out)."""
    image: tuple[int, list[int | str]] = (TensorProto.FLOAT, [1, 3, 4, 4])
    nodes = [helper.make_node("MaxPool", ["x"], ["y"], kernel_shape=[3, 3], strides=[1, 1], pads=[1, 1, 1, 1])]
    x = np.full((1, 3, 4, 4), -np.inf, np.float32)
    x[0, 0, 1, 1] = 5
    wanted = x.copy()
    wanted[0, 0, :3, :3] = 5
    got = run(make_model(nodes, {"x": image}, {"y": image}), {"x": x}, levels_here()[-1])
    np.testing.assert_array_equal(got["y"], wanted)
