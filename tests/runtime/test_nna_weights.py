"""The interpreter's weight decoder against the encoder of Arm's Vela, and on damaged streams."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tilewright.errors import ArtifactError
from tilewright.runtime import nna

mlw_codec = pytest.importorskip("ethosu.mlw_codec", reason="no Vela: pip install 'tilewright[nna]'")


@st.composite
def weights(draw: st.DrawFn) -> list[int]:
    """What the codec treats differently: depths, palettes, zero runs, long streams."""
    most = draw(st.sampled_from([1, 3, 7, 127, 255]))
    values = draw(st.lists(st.integers(-most, most), min_size=1, max_size=300))
    zeros = draw(st.sampled_from([0, 0, 30, 3000]))
    return [*values, *[0] * zeros, *values[::-1]] * draw(st.sampled_from([1, 1, 1, 60]))


@given(weights())
@settings(deadline=None)
def test_weights_decode(values: list[int]) -> None:
    stream = bytes(mlw_codec.encode(values))
    assert nna.decode_weights(stream, len(values)).tolist() == values


def test_weights_of_all_depths_decode() -> None:
    random = np.random.default_rng(0)
    for depth in range(2, 10):
        most = 2 ** (depth - 1) - 1
        for zeros in (0.0, 0.5, 0.9):
            values = random.integers(-most, most + 1, 50_000)
            values[random.random(values.size) < zeros] = 0
            stream = bytes(mlw_codec.encode(values.tolist()))
            np.testing.assert_array_equal(nna.decode_weights(stream, values.size), values)


def test_damaged_weights() -> None:
    stream = bytes(mlw_codec.encode(list(range(-100, 100))))
    for count, text in ((199, "more than the layer's 199 weights"), (201, "has 200 weights, the layer 201")):
        with pytest.raises(ArtifactError, match=text):
            nna.decode_weights(stream, count)
    with pytest.raises(ArtifactError, match="truncated after 40 bytes"):
        nna.decode_weights(stream[:40], 200)
    with pytest.raises(ArtifactError, match="start without a palette"):
        nna.decode_weights(bytes(16), 200)


@given(st.binary(max_size=64))
def test_any_bytes_decode_or_are_refused(stream: bytes) -> None:
    with contextlib.suppress(ArtifactError):
        assert nna.decode_weights(stream, 50).shape == (50,)
