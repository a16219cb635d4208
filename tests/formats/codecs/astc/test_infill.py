"""Weight infill: an interpolation, and the identity for a grid of the footprint's size."""

from __future__ import annotations

import numpy as np
import pytest

from tilewright.formats.codecs.astc import infill, modes


@pytest.mark.parametrize("footprint", modes.FOOTPRINTS)
def test_matrix(footprint: tuple[int, int]) -> None:
    for grid in {(mode.width, mode.height) for code in modes.legal_modes(footprint) if (mode := modes.parse(code))}:
        matrix = infill.matrix(footprint, grid)
        assert matrix.shape == (footprint[0] * footprint[1], grid[0] * grid[1])
        np.testing.assert_array_equal(matrix.sum(axis=1), 16)
        assert (matrix > 0).sum(axis=1).max() <= 4
        corners = matrix.reshape(footprint[1], footprint[0], grid[1], grid[0])
        assert corners[0, 0, 0, 0] == corners[-1, -1, -1, -1] == 16  # corners have the grid's corner weights
    identity = infill.matrix(footprint, footprint)
    np.testing.assert_array_equal(identity, 16 * np.eye(len(identity)))
