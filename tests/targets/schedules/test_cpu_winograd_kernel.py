"""The kernels of convolution by minimal filtering against onnxruntime, over drawn shapes, and as text."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.targets.running import check, expected, levels_here, run
from tests.targets.schedules.kernels import scheduled_text
from tests.targets.schedules.test_cpu_conv import conv_model, feeds
from tests.targets.schedules.test_cpu_winograd import window
from tilewright.targets import resolve
from tilewright.targets.schedules import cpu_prepare
from tilewright.targets.schedules.cpu_tile import Core
from tilewright.targets.schedules.cpu_winograd import Winograd, tiled, winograd, winograd_weights
from tilewright.targets.schedules.window import Window


@st.composite
def convolutions(draw: st.DrawFn) -> tuple[onnx.ModelProto, tuple[int, ...], int]:
    taps = draw(st.sampled_from([3, 5]))
    pads = draw(st.tuples(*[st.integers(0, taps - 1)] * 4))
    size = [draw(st.integers(max(1, taps - pads[i] - pads[2 + i]), 11)) for i in range(2)]
    shape = (draw(st.integers(1, 2)), draw(st.integers(1, 40)), size[0], size[1])
    activation = draw(st.sampled_from(["Relu", "Sigmoid", "HardSwish", "LeakyRelu"]))
    residual = draw(st.booleans())
    model = conv_model(
        shape, draw(st.integers(1, 70)), (taps, taps), pads=pads, activation=activation, residual=residual
    )
    return model, shape, draw(st.sampled_from([2, 4])) if taps == 3 else 2


@settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
@given(convolutions(), st.integers(0, 2), st.integers(1, 9))
def test_equals_onnxruntime(case: tuple[onnx.ModelProto, tuple[int, ...], int], level: int, block: int) -> None:
    """Whatever the model of a core prefers, and in blocks of few tiles."""
    model, shape, outputs = case
    levels = levels_here()

    def always(window: Window, channels: int, out_channels: int, groups: int, device: object) -> Winograd:
        core = Core.of(resolve(levels[level % len(levels)]).device)
        return tiled(window, channels, out_channels, outputs, core, most=block)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cpu_prepare, "fastest", always)
        check(model, feeds(shape), levels[level % len(levels)])


@pytest.mark.parametrize("side", [14, 30])
def test_threads_give_the_same_as_one(side: int) -> None:
    """One block of tiles, whose panels are shared out; and several blocks."""
    shape = (2, 128, side, side)
    check(conv_model(shape, 128, (3, 3), pads=(1, 1, 1, 1)), feeds(shape), levels_here()[-1], threads=2)


def test_infinite_results_stay_in_their_tiles() -> None:
    """Inf - inf is NaN at points: only tiles that meet the infinite input may differ from onnxruntime's."""
    shape = (1, 64, 56, 56)
    x = feeds(shape)["x"]
    x[0, 0, 28, 28] = np.inf
    model = conv_model(shape, 64, (3, 3), pads=(1, 1, 1, 1), activation="LeakyRelu")
    got, wanted = (f(model, {"x": x}, *rest)["y"] for f, rest in ((run, (levels_here()[-1],)), (expected, ())))
    far = np.ones((56, 56), bool)
    far[24:32, 24:32] = False
    np.testing.assert_allclose(got[..., far], wanted[..., far], rtol=0, atol=1e-5 * np.abs(wanted[..., far]).max())


def test_kernel_text(golden: object) -> None:
    conv = tiled(window(6), 4, 5, 2, Core.of(resolve("cpu-neon").device))
    text = scheduled_text(winograd_weights(conv), "cpu-neon") + scheduled_text(winograd(conv), "cpu-neon")
    golden("cpu_winograd.txt", text)  # type: ignore[operator]
