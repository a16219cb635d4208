"""Depths: ranges, saturation, sizes without padding. Exact throughout, against what the definitions say."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tilewright.integer.depths import DEPTHS, depth_of, packed_bytes
from tilewright.integer.elementwise import Affine, add, mul, requantize
from tilewright.integer.network import Lookup, Map, Network, run
from tilewright.integer.rounding import limits
from tilewright.integer.tables import KNOTS, knots


@pytest.mark.parametrize("bits", DEPTHS)
def test_a_depth_holds_its_integers_and_no_more(bits: int) -> None:
    most = 1 << bits - 1
    assert depth_of([-most, most - 1]) == bits
    assert depth_of([-most - 1], (*DEPTHS, 17)) > bits
    assert packed_bytes(8, bits) == bits
    assert packed_bytes(9, bits) == bits + -(-bits // 8)
    container = "8" if bits <= 8 else "16"
    assert limits(f"int{container}", bits) == (-most, most - 1)
    assert limits(f"uint{container}", bits) == (0, 2 * most - 1)


def test_what_no_depth_holds() -> None:
    with pytest.raises(ValueError, match="more than 16 bits"):
        depth_of([1 << 15])
    with pytest.raises(ValueError, match="holds no 9 bits"):
        Affine(1.0, 0, "uint8", 9)
    assert Affine(1.0, 0, "int16").bits == 16


@given(st.sampled_from(DEPTHS), st.sampled_from(DEPTHS), st.integers(0, 2**32 - 1))
def test_results_saturate_at_the_depth_and_are_right_before(before: int, after: int, seed: int) -> None:
    """Against real arithmetic: off by at most one, of a rounding that is done in two steps."""
    random = np.random.default_rng(seed)
    container = {bits: "uint8" if bits <= 8 else "uint16" for bits in DEPTHS}
    a = Affine(float(np.float32(random.uniform(0.01, 1))), int(random.integers(1 << before)), container[before], before)
    out = Affine(float(np.float32(random.uniform(0.01, 1))), int(random.integers(1 << after)), container[after], after)
    x, y = (random.integers(0, 1 << before, 32) for _ in range(2))
    real, other = ((v - a.zero) * a.scale for v in (x, y))
    for found, exact in (
        (requantize(x, a, out), real),
        (add(x, a, y, a, out), real + other),
        (mul(x, a, y, a, out), real * other),
    ):
        wanted = np.clip(exact / out.scale + out.zero, *out.limits)
        assert found.min() >= 0
        assert found.max() < 1 << after
        assert np.abs(found - wanted).max() <= 1


@given(st.sampled_from([bits for bits in DEPTHS if bits > 8]), st.integers(0, 2**32 - 1))
def test_deep_functions_are_lines_between_entries(bits: int, seed: int) -> None:
    """Exact at the entries; between them off by at most one half plus the table's own rounding, against the line."""
    random = np.random.default_rng(seed)
    affine = Affine(1.0, 0, "uint16", bits)
    table = random.integers(0, 1 << bits, KNOTS).astype(np.uint16)
    maps = (Map("x", (1, 1, 1 << bits), affine), Map("y", (1, 1, 1 << bits), affine))
    network = Network(maps, (0,), (1,), (Lookup("f", 0, 1, table),))
    x = np.arange(1 << bits)
    (y,) = run(network, [x.astype(np.uint16)])
    found = y.reshape(-1).astype(np.int64)
    np.testing.assert_array_equal(found[knots(bits)[:-1]], table[:-1])
    assert np.abs(found - np.interp(x, knots(bits), table.astype(float))).max() <= 0.5
