"""Unquantisation tables: the specification's bit replication, and symmetry. test_decode checks every entry."""

from __future__ import annotations

import numpy as np
import pytest

from tilewright.formats.codecs.astc import ise, modes, quantization


@pytest.mark.parametrize("levels", modes.WEIGHT_LEVELS)
def test_weights(levels: int) -> None:
    values = quantization.weight_values(levels).astype(int)
    assert len(set(values)) == levels
    assert set(values) == set(64 - values)  # symmetric about the middle
    if levels in (4, 8, 16, 32):  # plain bits: repeated to six bits, and one more above the middle
        bits = levels.bit_length() - 1
        replicated = [int((f"{symbol:0{bits}b}" * 6)[:6], 2) for symbol in range(levels)]
        assert values.tolist() == [value + (value > 32) for value in replicated]


@pytest.mark.parametrize("kind", [kind for kind in ise.RANGES if kind.levels >= modes.MIN_ENDPOINT_LEVELS])
def test_endpoints(kind: ise.Range) -> None:
    values = quantization.endpoint_values(kind).astype(int)
    assert len(set(values)) == kind.levels
    assert {0, 255} <= set(values)
    assert set(values) == set(255 - values)
    nearest = values[quantization.nearest_endpoint(kind)]
    brute = [min(abs(values - number)) for number in range(256)]
    np.testing.assert_array_equal(abs(nearest - np.arange(256)), brute)
