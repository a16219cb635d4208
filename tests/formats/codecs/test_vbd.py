"""Variable bit depth."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.formats.strategies import Matrix, matrices, normal, row_scaled
from tilewright.errors import ArtifactError, DataError
from tilewright.formats.base import Encoded
from tilewright.formats.codecs.vbd import Vbd, _allocate
from tilewright.formats.packed import snr_db

PER = st.sampled_from(["channel", "tensor"])


def quantised(x: Matrix, depth: int, exponent: int) -> Matrix:
    """q(x; B, E) as published, in float64."""
    if depth == 0:
        return np.zeros_like(x)
    q = np.clip(np.rint(np.ldexp(x.astype(np.float64), -exponent)), -(2.0 ** (depth - 1)), 2.0 ** (depth - 1) - 1)
    return np.ldexp(q, exponent).astype(np.float32)


@given(matrices(), st.integers(0, 99))
def test_follows_the_published_quantiser(matrix: Matrix, seed: int) -> None:
    rng = np.random.default_rng(seed)
    depths = rng.integers(0, 17, len(matrix))
    depths[0] = rng.integers(1, 17)
    leading = np.frexp(np.abs(matrix).max())[1]
    exponents = np.clip(leading - rng.integers(0, 16, len(matrix)), -128, 111)
    codec = Vbd(8)
    encoded = codec.encode_with(matrix, depths, exponents)
    expected = [quantised(row, b, e) for row, b, e in zip(matrix, depths.tolist(), exponents.tolist(), strict=True)]
    assert np.array_equal(codec.decode(encoded), expected)
    assert encoded.nbytes == (int(depths.sum()) * matrix.shape[1] + 7) // 8 + 2 * len(matrix)


@given(matrices(), st.sampled_from([1.0, 2.5, 4.0, 8.0, 16.0]), PER)
def test_depths_stay_within_the_budget(matrix: Matrix, bits: float, per: str) -> None:
    if per == "tensor":
        codec = Vbd(float(int(bits)), "tensor")
        encoded = codec.encode(matrix)
        assert encoded.nbytes == codec.packed_bytes(matrix.shape)
    else:
        codec = Vbd(bits)
        if bits < 4:  # one channel, or a few, may get less than a useful depth each; one that costs nothing does not
            matrix = np.concatenate([matrix, np.zeros((16, matrix.shape[1]), np.float32)])
        encoded = codec.encode(matrix)
        depths = encoded.arrays["depths"].astype(int)
        assert depths.sum() <= bits * len(matrix)
        assert encoded.nbytes == max(1, (depths.sum() * matrix.shape[1] + 7) // 8) + 2 * len(matrix)
        assert not depths[~matrix.any(axis=1)].any()  # channels of zeros cost nothing
    decoded = codec.decode(encoded)
    assert np.isfinite(decoded).all()
    error = np.square(decoded.astype(np.float64) - matrix).sum()
    assert error <= np.square(matrix.astype(np.float64)).sum() * (1 + 1e-6)


def test_channels_of_different_scale_gain_from_their_own_depths() -> None:
    matrix = row_scaled((128, 512))
    mixed, uniform = Vbd(4), Vbd(4)
    own = snr_db(matrix, mixed.decode(mixed.encode(matrix)))
    same = snr_db(matrix, uniform.decode(uniform.encode_with(matrix, np.full(128, 4))))
    tensor = Vbd(4, "tensor")
    single = snr_db(matrix, tensor.decode(tensor.encode(matrix)))
    # Reverse water-filling: 6.02 dB for each bit between arithmetic and geometric mean of the channels' powers. The
    # variance of exp(N(0, 1)) gives 2 nepers of power between them, 8.7 dB, less what whole bits lose.
    assert own > same + 6
    assert same > single + 6


@pytest.mark.parametrize(("bits", "expected"), [(2, 8.23), (4, 17.0), (8, 40.6)])
def test_signal_to_noise_on_normal_weights(bits: int, expected: float) -> None:
    """Recorded from this code: below the best uniform quantiser (19.25 dB at 4 bits), as steps are powers of two."""
    matrix = normal((256, 1024))
    codec = Vbd(bits)
    assert snr_db(matrix, codec.decode(codec.encode(matrix))) == pytest.approx(expected, abs=0.2)


@given(st.integers(0, 999), st.integers(2, 8), st.floats(0.5, 10))
def test_allocation_is_as_good_as_dynamic_programming(seed: int, channels: int, average: float) -> None:
    rng = np.random.default_rng(seed)
    gains = rng.exponential(size=(channels, 16)) * 4.0 ** -np.arange(16)
    errors = np.cumsum(np.concatenate([gains, np.full((channels, 1), 1e-9)], axis=1)[:, ::-1], axis=1)[:, ::-1]
    budget = int(average * channels + 1e-9)
    best = np.zeros(1)  # least error by bits spent
    for row in errors:
        grown = np.full(len(best) + 16, np.inf)
        for depth, value in enumerate(row):
            grown[depth : depth + len(best)] = np.minimum(grown[depth : depth + len(best)], best + value)
        best = grown
    depths = _allocate(errors, average)
    assert depths.sum() <= budget
    found = errors[np.arange(channels), depths].sum()
    # Optimal for the bits it spends on the lower convex hull; the last step of a hull may not fit the budget.
    assert best[budget] * (1 - 1e-9) <= found <= best[max(0, budget - 16)] * (1 + 1e-9)


def test_removing_every_channel_is_refused() -> None:
    with pytest.raises(DataError, match="depth 0 for every channel"):
        Vbd(4).encode_with(normal((3, 4)), [0, 0, 0])
    with pytest.raises(DataError, match="depth 0 for every channel"):
        Vbd(0.1).encode(normal((3, 4)))
    assert not Vbd(4).decode(Vbd(4).encode(np.zeros((3, 4), np.float32))).any()


def test_impossible_parameters_are_refused() -> None:
    for bits, per in ((0, "channel"), (17, "channel"), (2.5, "tensor"), (float("nan"), "channel")):
        with pytest.raises(ValueError, match="bits is"):
            Vbd(bits, per)
    with pytest.raises(DataError, match="3 integers from 0 to 16"):
        Vbd(4).encode_with(normal((3, 4)), [1, 2, 17])
    with pytest.raises(DataError, match="exponents"):
        Vbd(4).encode_with(normal((3, 4)), [1, 2, 3], [0, 0, 128])
    with pytest.raises(ValueError, match="depends on the weights"):
        Vbd(4).packed_bytes((3, 4))


def test_damaged_arrays_are_refused() -> None:
    codec = Vbd(4)
    encoded = codec.encode(normal((4, 16)))
    for arrays, match in (
        ({"depths": np.full(4, 17, np.uint8)}, "do not fit"),
        ({"exponents": np.zeros(3, np.int8)}, "do not fit"),
        ({"values": encoded.arrays["values"][:-1]}, "do not hold"),
    ):
        with pytest.raises(ArtifactError, match=match):
            codec.decode(Encoded({**encoded.arrays, **arrays}, encoded.shape))
