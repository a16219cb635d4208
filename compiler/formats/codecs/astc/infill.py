"""Weight grids smaller than the footprint: the weight of a texel is interpolated between four of the grid.

Khronos Data Format Specification, chapter "ASTC Compressed Texture Image Formats", section "Weight Infill".
"""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt

from tilewright.formats.element import Value


def axis(texels: int, grid: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """For every texel of one axis: the grid point below it, and how many sixteenths it lies above."""
    step = (1024 + texels // 2) // (texels - 1)
    place = (step * np.arange(texels) * (grid - 1) + 32) >> 6
    return place >> 4, place & 15


def corner_factors(right: Value, down: Value) -> tuple[Value, Value, Value, Value]:
    """Sixteenths of the grid points at and right of a texel's place, and of both below, for sixteenths above it."""
    both = (down * right + 8) // 16
    return 16 - right - down + both, right - both, down - both, both


@cache
def matrix(footprint: tuple[int, int], grid: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """Sixteenths of every grid weight in every texel, uint8 [texels, grid weights], both in raster order.

    The weight of a texel is ``(row @ weights + 8) >> 4``.
    """
    (width, height), (grid_width, grid_height) = footprint, grid
    x, right = axis(width, grid_width)
    y, down = axis(height, grid_height)
    corners = zip((0, 0, 1, 1), (0, 1, 0, 1), corner_factors(right, down[:, None]), strict=True)
    factors = np.zeros((height, width, grid_height, grid_width), np.uint8)
    rows, columns = np.mgrid[:height, :width]
    for below, beside, factor in corners:
        at_y = np.minimum(y + below, grid_height - 1)[rows]  # a neighbour outside the grid has factor 0
        at_x = np.minimum(x + beside, grid_width - 1)[columns]
        factors[rows, columns, at_y, at_x] += factor.astype(np.uint8)
    return factors.reshape(width * height, grid_width * grid_height)
