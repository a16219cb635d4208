"""Which layers have rows or pixels as lanes, how many blocks they may have, and where taps are in an image."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.targets.running import levels_here
from tests.targets.schedules.planar_layers import check, convolution, product
from tilewright.targets.schedules.cpu_blocks import Blocks
from tilewright.targets.schedules.cpu_planar import Planar, edges, offsets, reads_bare
from tilewright.targets.schedules.window import Window


def test_lonely_convolutions_and_batches_take_this_kernel() -> None:
    device = levels_here()[-1]
    assert "planar" in check(product(16, 64, 32), device, "block_sparse(16,1)", "f32", 0)
    assert "planar" in check(convolution(16, 14, 20, 32, 3, 1), device, "block_sparse(16,4)", "int8", 8)
    assert "planar" not in check(product(1, 64, 32), device, "block_sparse(16,1)", "f32", 0)


def test_pixels_of_small_images_are_lanes_through_all_rows() -> None:
    device = "cpu-avx512"
    if device not in levels_here():
        pytest.skip("rows of seven pixels fill the registers of other levels")
    assert "planar" in check(convolution(16, 7, 7, 32, 3, 1), device, "block_sparse(16,1)", "f32", 0)
    assert "planar" in check(convolution(16, 7, 7, 32, 1, 0), device, "block_sparse(16,4)", "int8", 8)
    for padded, block in ((True, "block_sparse(16,4)"), (False, "block_sparse(4,4)")):
        assert "planar" not in check(convolution(16, 7, 7, 32, 3, 1), device, block, "int8", 8 * padded)


def test_one_block_and_all_blocks() -> None:
    device = levels_here()[-1]
    for density in (0.01, 0.6):
        check(product(16, 256, 48), device, "block_sparse(16,4)", "int4", 8, density)


def test_only_floats_that_a_vector_may_mask_are_not_padded() -> None:
    for device in {levels_here()[0], levels_here()[-1]}:
        for codec, activations in (("f32", 0), ("int8", 8)):
            kernels = check(convolution(16, 9, 20, 32, 3, 1), device, "block_sparse(4,4)", codec, activations)
            assert "planar" in kernels
            assert ("stage" in kernels) == (device == "cpu-avx2" or activations == 8)


@settings(max_examples=40, deadline=None)
@given(
    st.tuples(st.integers(1, 20), st.integers(1, 40)),
    st.tuples(st.integers(1, 5), st.integers(1, 5)),
    st.tuples(st.integers(1, 2), st.integers(1, 2)),
    st.sampled_from([1, 4]),
    st.integers(0, 8),
    st.integers(0, 8),
)
def test_every_lane_meets_the_tap_that_padding_would_show(
    image: tuple[int, int], kernel: tuple[int, int], dilation: tuple[int, int], width: int, top: int, left: int
) -> None:
    """The image's elements are their own numbers, so that a window over it, padded with -1, says what is to be read."""
    height, columns = image
    reach = [(size - 1) * apart for size, apart in zip(kernel, dilation, strict=True)]
    top, left = min(top, reach[0]), min(left, reach[1])
    window = Window(1, *image, *image, *kernel, 1, 1, *dilation, top, left)
    blocks, channels = Blocks(16, 8, 16, width, 1, True, 32, 1, 16), 8
    assert reads_bare(blocks, window) == (height * columns >= 16)
    layer = Planar(blocks, (1, channels, *image), (), window)
    if not layer.is_bare or height * columns < 16:
        return
    numbers = np.arange(channels * height * columns).reshape(channels, *image)
    padded = np.pad(numbers, [(0, 0), (top, reach[0] - top), (left, reach[1] - left)], constant_values=-1)
    places = [
        padded[c, i * dilation[0] :, j * dilation[1] :][:height, :columns].ravel()
        for i in range(kernel[0])
        for j in range(kernel[1])
        for c in range(0, channels, width)
    ]
    table = edges(layer)
    for vector in range(-(-layer.rows // 16)):
        first = min(16 * vector, layer.rows - 16)
        for column, (offset, wanted) in enumerate(zip(offsets(layer), places, strict=True)):
            mask = table[table[vector] + column // (channels // width)]
            got = np.where(mask >> np.arange(16) & 1, offset + first + np.arange(16), -1)
            np.testing.assert_array_equal(got, wanted[first : first + 16])
