"""Convolution by minimal filtering on the cpu: when it is chosen, and what it costs."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
import tvm

import tilewright
from tests.targets.running import levels_here
from tests.targets.schedules.test_cpu_conv import conv_model
from tilewright.targets import resolve
from tilewright.targets.schedules.cpu_conv import pack_weights
from tilewright.targets.schedules.cpu_tile import Core
from tilewright.targets.schedules.cpu_winograd import fastest, speedup, tiled, winograd, winograd_weights
from tilewright.targets.schedules.window import Window


def window(side: int, taps: int = 3, stride: int = 1, dilation: int = 1, batch: int = 1) -> Window:
    pad = taps // 2
    out = (side + 2 * pad - (taps - 1) * dilation - 1) // stride + 1
    return Window(batch, side, side, out, out, taps, taps, stride, stride, dilation, dilation, pad, pad)


def test_is_chosen_where_products_outweigh_transforms() -> None:
    device = resolve("cpu-vnni").device
    chosen = {side: fastest(window(side), channels, channels, 1, device) for side, channels in ((56, 64), (28, 128))}
    assert [conv and conv.outputs for conv in chosen.values()] == [4, 4]
    assert fastest(window(27, taps=5), 64, 192, 1, device) is not None
    assert fastest(window(224), 3, 64, 1, device) is None  # few channels: transforms outweigh products
    assert fastest(window(7), 512, 512, 1, device) is None  # few tiles: weights at points are more to read
    for other in (window(56, stride=2), window(56, dilation=2), window(56, taps=7), window(56, taps=1)):
        assert fastest(other, 64, 64, 1, device) is None
    assert fastest(window(56), 64, 64, 2, device) is None


@pytest.mark.parametrize(("taps", "outputs"), [(3, 2), (3, 4), (5, 2)])
def test_definitions_are_the_convolution(taps: int, outputs: int) -> None:
    """What fusion sees, and other schedules would follow. Tolerance: float32, weights there and back."""
    conv = tiled(window(7, taps), 3, 5, outputs, Core(4, 16, 32768, 262144, 1048576))
    rng = np.random.default_rng(0)
    data = rng.standard_normal((1, 7, 7, 3), dtype=np.float32)
    weights = rng.standard_normal((5, 3, taps, taps), dtype=np.float32)
    at_points, result = np.zeros(conv.weight_shape, np.float32), np.zeros((1, 7, 7, 5), np.float32)
    for function, arrays in (
        (winograd_weights(conv), [pack_weights(weights, conv.panel), at_points]),
        (winograd(conv), [data, at_points, result]),
    ):
        tensors = [tvm.runtime.tensor(array) for array in arrays]
        tvm.compile(function.with_attr("global_symbol", "main"), target="llvm")(*tensors)
        arrays[-1][:] = tensors[-1].numpy()
    padded = np.pad(data, ((0, 0), (taps // 2,) * 2, (taps // 2,) * 2, (0, 0)))
    views = np.lib.stride_tricks.sliding_window_view(padded[0], (taps, taps), (0, 1))
    wanted = np.einsum("yxcij,ocij->yxo", views, weights)
    np.testing.assert_allclose(result[0], wanted, rtol=0, atol=1e-5 * np.abs(wanted).max())


def test_a_device_may_limit_or_forbid_it() -> None:
    small = fastest(window(56), 64, 64, 1, resolve("cpu-vnni:winograd=2").device)
    assert small is not None
    assert small.outputs == 2
    assert fastest(window(56), 64, 64, 1, resolve("cpu-vnni:winograd=0").device) is None


def test_speedup_is_one_where_convolution_is_direct() -> None:
    device = resolve("cpu-vnni").device
    assert speedup(window(7), 512, 512, 1, device) == 1
    assert 2 < speedup(window(56), 64, 64, 1, device) < 4


def test_the_file_holds_the_weights_as_they_are() -> None:
    """64 x 64 x 9 numbers, not 36 products of each; 60 KB hold code and tables."""
    shape = (1, 64, 56, 56)
    artifact = tilewright.compile(conv_model(shape, 64, (3, 3), pads=(1, 1, 1, 1)), target=levels_here()[-1])
    assert any("winograd" in launch.kernel for launch in artifact.plan.launches)
    with tempfile.TemporaryDirectory() as folder:
        artifact.save(Path(folder) / "model.tw")
        assert (Path(folder) / "model.tw").stat().st_size <= 4 * 9 * 64 * 64 + 60_000


def test_operations_are_those_that_are_done() -> None:
    """196 tiles of 36 products for each pair of channels, four times fewer than directly, and transforms."""
    conv = tiled(window(56), 64, 64, 4, Core.of(resolve("cpu-vnni").device))
    products = 2 * 196 * 36 * 64 * 64
    assert products < conv.operations < 1.15 * products
    assert products * 4 == 2 * 56 * 56 * 9 * 64 * 64
    artifact = tilewright.compile(conv_model((1, 64, 56, 56), 64, (3, 3), pads=(1, 1, 1, 1)), target="cpu-vnni")
    (launch,) = [launch for launch in artifact.plan.launches if "winograd" in launch.kernel]
    assert launch.operations == conv.operations + 2 * 56 * 56 * 64  # bias and activation
