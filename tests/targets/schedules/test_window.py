"""Windows over images: what of them lies inside, against counting every element."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tilewright.targets.schedules.window import Window


@st.composite
def windows(draw: st.DrawFn) -> Window:
    """Windows whose outputs all meet the image or its padding."""
    stride, dilation = draw(st.integers(1, 3)), draw(st.integers(1, 2))
    kernel, pad, out = draw(st.integers(1, 4)), draw(st.integers(0, 3)), draw(st.integers(1, 9))
    size = max(1, (out - 1) * stride + (kernel - 1) * dilation + 1 - pad - draw(st.integers(0, 3)))
    return Window(1, size, size, out, out, kernel, kernel, stride, stride, dilation, dilation, pad, pad)


@given(windows())
def test_a_column_meets_the_image_where_its_element_is_in_it(window: Window) -> None:
    for x in range(window.out_width):
        places = [x * window.stride_w + j * window.dilation_w - window.pad_left for j in range(window.kernel_width)]
        assert window.meets(x) == [0 <= place < window.width for place in places]


@given(windows(), st.integers(1, 4))
def test_groups_of_columns_cover_every_output_once_and_repeat_only_inside(window: Window, rows: int) -> None:
    covered = []
    for start, size, times in window.column_groups(rows):
        assert 1 <= size <= rows
        assert times == 1 or window.is_inner(start, size * times)
        covered += range(start, start + size * times)
    assert covered == list(range(window.out_width))


@given(windows(), st.integers(1, 3))
def test_offsets_are_places_in_a_padded_image(window: Window, channels: int) -> None:
    columns = window.width + 2 * window.pad_left + window.kernel_width * window.dilation_w
    image = np.arange((window.kernel_height * window.dilation_h) * columns * channels).reshape(-1, columns, channels)
    taps = image[:: window.dilation_h, : window.kernel_width * window.dilation_w : window.dilation_w]
    assert window.offsets(columns, channels) == taps[: window.kernel_height].ravel().tolist()
