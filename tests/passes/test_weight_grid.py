"""Integers come out of a packed weight and go into it again; scales where rows have their own."""

from __future__ import annotations

import numpy as np
import pytest

from tests.passes.test_round_weights import network, packed, weights
from tilewright.formats.packed import pack, unpack
from tilewright.passes.weight_grid import WeightGrid


@pytest.mark.parametrize("spec", ["int4", "int3(per=tensor)", "int4(group=32,asymmetric)", "two_four int4"])
def test_there_and_back(spec: str) -> None:
    model = network()
    if spec.startswith("two_four"):
        for weight in weights(model).values():
            weight.store(unpack(pack(weight.matrix, "two_four", density=0.5)))
    for name, given in packed(model, spec).items():
        if name == "table":
            continue
        grid = WeightGrid(weights(model)[name], given)
        assert grid.scalable == (spec == "int4")
        np.testing.assert_array_equal((grid.nearest * grid.scale).reshape(given.shape), unpack(given))
        assert (grid.low <= grid.nearest).all()
        assert (grid.nearest <= grid.high).all()
        other = np.clip(grid.nearest + 1, grid.low, grid.high) * (grid.scale != 0)
        np.testing.assert_array_equal(unpack(grid.packed(other)), (other * grid.scale).reshape(given.shape))
        if grid.scalable:
            scales = 2 * grid.scale[:, :, 0]
            doubled = (other * scales[:, :, None]).reshape(given.shape)
            np.testing.assert_array_equal(unpack(grid.packed(other, scales)), doubled)
