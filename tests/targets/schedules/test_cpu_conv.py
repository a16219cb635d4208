"""Convolution on the cpu against onnxruntime, over drawn shapes; and the generated kernel of one as text."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from tests.models import make_model
from tests.targets.running import check, levels_here
from tests.targets.schedules.kernels import scheduled_text
from tilewright.targets.schedules.cpu_conv import Conv2d, conv2d, pack_weights
from tilewright.targets.schedules.window import Window


def conv_model(
    shape: tuple[int, int, int, int],
    out: int,
    kernel: tuple[int, int],
    strides: tuple[int, int] = (1, 1),
    pads: tuple[int, int, int, int] = (0, 0, 0, 0),
    dilations: tuple[int, int] = (1, 1),
    groups: int = 1,
    activation: str = "Relu",
    residual: bool = False,
) -> onnx.ModelProto:
    """Conv with bias, then an activation, then y + y * y if ``residual`` (the epilogue reads another full tensor)."""
    rng = np.random.default_rng(0)
    constants = {
        "w": rng.standard_normal((out, shape[1] // groups, *kernel), dtype=np.float32),
        "b": rng.standard_normal(out, dtype=np.float32),
    }
    attributes = {"strides": strides, "pads": pads, "dilations": dilations, "group": groups}
    last = "a" if residual else "y"
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["c"], **attributes),
        helper.make_node(activation, ["c"], [last]),
    ]
    if residual:
        nodes += [
            helper.make_node("Conv", ["x", "w"], ["d"], **attributes),
            helper.make_node("Add", ["a", "d"], ["y"]),
        ]
    size = [
        (shape[2 + i] + pads[i] + pads[2 + i] - (kernel[i] - 1) * dilations[i] - 1) // strides[i] + 1 for i in range(2)
    ]
    return make_model(
        nodes,
        {"x": (TensorProto.FLOAT, list(shape))},
        {"y": (TensorProto.FLOAT, [shape[0], out, *size])},
        constants,
    )


def feeds(shape: tuple[int, ...]) -> dict[str, np.ndarray]:
    return {"x": np.random.default_rng(1).standard_normal(shape, dtype=np.float32)}


@st.composite
def convolutions(draw: st.DrawFn) -> tuple[onnx.ModelProto, tuple[int, ...]]:
    kernel = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    dilations = draw(st.tuples(st.integers(1, 2), st.integers(1, 2)))
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    pads = draw(st.tuples(*(st.integers(0, size - 1) for size in reach * 2)))
    size = [draw(st.integers(max(1, r - pads[i] - pads[2 + i]), 13)) for i, r in enumerate(reach)]
    shape = (draw(st.integers(1, 2)), draw(st.integers(1, 20)), size[0], size[1])
    model = conv_model(
        shape,
        draw(st.integers(1, 70)),
        kernel,
        draw(st.tuples(st.integers(1, 3), st.integers(1, 3))),
        pads,
        dilations,
        activation=draw(st.sampled_from(["Relu", "Sigmoid", "HardSwish", "LeakyRelu"])),
        residual=draw(st.booleans()),
    )
    return model, shape


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(convolutions(), st.integers(0, 2))
def test_equals_onnxruntime(case: tuple[onnx.ModelProto, tuple[int, ...]], level: int) -> None:
    model, shape = case
    levels = levels_here()
    check(model, feeds(shape), levels[level % len(levels)])


@pytest.mark.parametrize("groups", [2, 3, 6])
@pytest.mark.parametrize(("kernel", "pad", "stride"), [(3, 1, 1), (3, 1, 2), (1, 0, 1)])
def test_groups(groups: int, kernel: int, pad: int, stride: int) -> None:
    shape = (2, 12, 7, 9)
    model = conv_model(shape, 54, (kernel, kernel), (stride, stride), (pad, pad, pad, pad), groups=groups)
    check(model, feeds(shape), levels_here()[groups % len(levels_here())])


def test_more_outputs_than_channels_in_groups_of_one() -> None:
    shape = (1, 5, 6, 6)
    check(conv_model(shape, 15, (3, 3), pads=(1, 1, 1, 1), groups=5), feeds(shape), levels_here()[-1])


def test_threads_give_the_same_as_one() -> None:
    shape = (2, 32, 30, 30)  # large enough to start the pool
    check(conv_model(shape, 64, (3, 3), pads=(1, 1, 1, 1)), feeds(shape), levels_here()[-1], threads=2)


def test_packing_is_a_permutation_padded_with_zeros() -> None:
    weights = np.arange(1, 1 + 5 * 2 * 3 * 3, dtype=np.float32).reshape(5, 2, 3, 3)
    packed = pack_weights(weights, 4)
    assert packed.shape == (2, 18, 4)
    for o in range(5):
        for c in range(2):
            for i in range(3):
                for j in range(3):
                    assert packed[o // 4, (i * 3 + j) * 2 + c, o % 4] == weights[o, c, i, j]
    assert np.count_nonzero(packed) == weights.size


def test_kernel_text(golden: object) -> None:
    window = Window(1, 6, 6, 6, 6, 3, 3, 1, 1, 1, 1, 1, 1)
    text = scheduled_text(conv2d(Conv2d(window, 4, 24, panel=16, rows=4)), "cpu-avx2")
    golden("cpu_conv2d.txt", text)  # type: ignore[operator]
