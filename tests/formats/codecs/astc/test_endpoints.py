"""Endpoint modes of luminance by hand; all LDR modes test_decode compares with the reference codec."""

from __future__ import annotations

import numpy as np
import pytest

from tilewright.formats.codecs.astc import endpoints


def pair(mode: int, *values: int) -> tuple[list[int], list[int]]:
    low, high = endpoints.decode(mode, np.array(values, np.int32)[:, None])[..., 0].tolist()
    return low, high


def test_luminance() -> None:
    assert pair(endpoints.LUMINANCE, 7, 200) == ([7, 7, 7, 255], [200, 200, 200, 255])


def test_luminance_offset() -> None:
    # L0 = v0 >> 2 | v1 & 0xC0 = 63 | 128, L1 = L0 + (v1 & 0x3F), at most 255.
    assert pair(endpoints.LUMINANCE_OFFSET, 255, 128 | 10) == ([191, 191, 191, 255], [201, 201, 201, 255])
    assert pair(endpoints.LUMINANCE_OFFSET, 255, 192 | 63)[1] == [255, 255, 255, 255]


@pytest.mark.parametrize("mode", [2, 3, 7, 11, 14, 15])
def test_high_dynamic_range_is_the_error_colour(mode: int) -> None:
    assert pair(mode, *[1] * endpoints.values_of(mode)) == ([255, 0, 255, 255],) * 2


def test_values() -> None:
    assert [endpoints.values_of(mode) for mode in range(16)] == [2] * 4 + [4] * 4 + [6] * 4 + [8] * 4
