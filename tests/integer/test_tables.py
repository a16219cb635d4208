"""Tables against LiteRT's reference kernels. Tolerance 0: both are integer."""

from __future__ import annotations

import numpy as np
import pytest

from tilewright.integer import tables

from .oracle import Builder, layers, run


@pytest.mark.parametrize("scale", [0.05, 0.008, 0.3])
def test_tanh_of_eight_bits(scale: float) -> None:
    """All 256 inputs. LiteRT computes 8-bit TANH in fixed point, which may round a value differently: 1 step."""
    b = Builder(11)
    x = b.input((1, 1, 1, 4096), scale=scale)
    y = layers.unary(b, "TANH", x, 1 / 128, 0)
    (given,), (want,) = run(b, y)
    table = tables.table8(np.tanh, x.scale, x.zero, 1 / 128, 0)
    assert np.unique(given).size == 256
    assert np.abs(tables.look_up8(given, table) - want).max() <= 1


@pytest.mark.parametrize(("kind", "function"), [("TANH", tables.tanh16), ("LOGISTIC", tables.sigmoid16)])
def test_curves_of_sixteen_bits(kind: str, function: object) -> None:
    """An input scale of 2^-12 needs no rounding before the table: 3 times the input."""
    b = Builder(12)
    x = b.input((1, 16, 16, 256), "int16", 2.0**-12)
    y = layers.unary(b, kind, x, 2.0**-15, 0)
    (given,), (want,) = run(b, y)
    assert callable(function)
    np.testing.assert_array_equal(function(given.astype(np.int64) * 3), want)


def test_interpolation() -> None:
    bases, slopes = np.arange(512) * 100 - 25600, np.full(512, 100)
    x = np.arange(-32768, 32768)
    want = np.floor((x * 100 + 64) / 128)
    np.testing.assert_array_equal(tables.look_up16(x, bases, slopes), want)
