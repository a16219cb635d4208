"""Weight sharing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.formats.strategies import Matrix, matrices, normal, row_scaled
from tilewright.errors import ArtifactError, DataError
from tilewright.formats.base import Encoded
from tilewright.formats.codecs.codebook import Codebook, kmeans
from tilewright.formats.packed import snr_db

K = st.sampled_from([2, 3, 4, 15, 16, 17, 100, 256])


@given(matrices(extreme=False), K)
def test_every_weight_gets_its_nearest_centroid(matrix: Matrix, k: int) -> None:
    codec = Codebook(k)
    if 0 < np.abs(matrix).max() < 2.0**-14:
        with pytest.raises(DataError, match="outside fp16"):
            codec.encode(matrix)
        return
    encoded = codec.encode(matrix)
    assert encoded.nbytes == codec.packed_bytes(matrix.shape)
    assert encoded.arrays["codebook"].dtype == np.float16
    centroids = encoded.arrays["codebook"].astype(np.float64)
    assert centroids.shape == (k,)
    assert (np.diff(centroids) >= 0).all()
    decoded = codec.decode(encoded)
    nearest = np.abs(matrix[..., None] - centroids).min(axis=-1)
    # Borders between centroids are rounded to float32: a tie may go either way by that much.
    assert (np.abs(decoded - matrix) <= nearest + np.abs(centroids).max() * 2.0**-23).all()


@given(st.integers(0, 99), K)
def test_few_values_are_kept_exactly(seed: int, k: int) -> None:
    rng = np.random.default_rng(seed)
    values = rng.standard_normal(k).astype(np.float16).astype(np.float32)
    matrix = rng.choice(values, (20, 30))
    assert np.array_equal(Codebook(k).decode(Codebook(k).encode(matrix)), matrix)


@pytest.mark.parametrize(
    ("k", "expected"),
    # The optimal quantisers of N(0, 1), J. Max, "Quantizing for minimum distortion", 1960.
    [(2, 4.40), (4, 9.30), (8, 14.62), (16, 20.22), (32, 26.01)],
)
def test_normal_weights_reach_the_optimal_quantiser(k: int, expected: float) -> None:
    matrix = normal((1024, 512))
    # 0.05 dB: the SNR of half a million samples varies by 0.01 dB.
    assert snr_db(matrix, Codebook(k).decode(Codebook(k).encode(matrix))) == pytest.approx(expected, abs=0.05)


def test_many_centroids_reach_the_limit_of_high_resolution() -> None:
    matrix = normal((1024, 512))
    limit = 10 * np.log10(256**2 / (np.sqrt(3) * np.pi / 2))  # Panter and Dite, 1951: 43.8 dB
    # Half a million samples: 0.3 dB above, because centroids fit the sparse tail; below by incomplete convergence.
    assert snr_db(matrix, Codebook(256).decode(Codebook(256).encode(matrix))) == pytest.approx(limit, abs=0.3)


def test_heavy_tails_do_not_leave_centroids_unused() -> None:
    matrix = row_scaled((512, 512))
    matrix[0, 0] = 3000
    codec = Codebook(16)
    encoded = codec.encode(matrix)
    assert len(np.unique(codec.symbols(encoded))) == 16
    assert snr_db(matrix[1:], codec.decode(encoded)[1:]) > 12  # one centroid lost to the outlier, not most of them


def test_more_starts_never_hurt() -> None:
    points = np.sort(np.random.default_rng(0).laplace(size=4000))
    counts = np.ones_like(points)
    errors = [np.square(points[:, None] - kmeans(points, counts, k)).min(axis=1).sum() for k in (4, 5, 8, 16, 64)]
    assert errors == sorted(errors, reverse=True)


def test_pruned_weights_stay_pruned() -> None:
    matrix = normal((64, 64)) + np.float32(0.3)
    matrix[np.random.default_rng(1).random(matrix.shape) < 0.5] = 0
    decoded = Codebook(8).decode(Codebook(8).encode(matrix))
    assert not decoded[matrix == 0].any()


def test_trained_centroids_are_taken_over() -> None:
    encoded = Codebook(2).encode_with(np.array([[0.1, 0.9, 0.4]], np.float32), np.array([1.0, 0.0]))
    assert encoded.arrays["codebook"].tolist() == [0, 1]
    assert Codebook(2).decode(encoded).tolist() == [[0, 1, 0]]
    with pytest.raises(ValueError, match="centroids of shape"):
        Codebook(4).encode_with(normal((2, 2)), np.zeros(3))
    with pytest.raises(DataError, match="NaN"):
        Codebook(2).encode_with(normal((2, 2)), np.array([0, np.nan]))


def test_damaged_arrays_are_refused() -> None:
    codec = Codebook(3)
    encoded = codec.encode(normal((4, 4)))
    high = {**encoded.arrays, "values": np.full(4, 0xFF, np.uint8)}
    with pytest.raises(ArtifactError, match="centroid 3"):
        codec.decode(Encoded(high, encoded.shape))
    with pytest.raises(ArtifactError, match="do not hold"):
        codec.decode(Encoded(encoded.arrays, (4, 5)))
    with pytest.raises(ArtifactError, match="codebook of shape"):
        codec.decode(Encoded({**encoded.arrays, "codebook": np.zeros(2, np.float16)}, encoded.shape))
    with pytest.raises(ValueError, match="2 to 256"):
        Codebook(257)


@given(matrices(extreme=False), K)
def test_scales_suit_their_rows(matrix: Matrix, k: int) -> None:
    codec = Codebook(k, scaled=True)
    encoded = codec.encode(matrix)
    assert encoded.nbytes == codec.packed_bytes(matrix.shape)
    decoded = codec.decode(encoded)
    assert (decoded[~matrix.any(axis=1)] == 0).all()
    # The best scale leaves an error orthogonal to the centroids: 1e-5 is float32's rounding of a row's product.
    error, size = (decoded - matrix).astype(np.float64), np.linalg.norm(matrix.astype(np.float64), axis=1)
    assert (np.abs((error * decoded).sum(axis=1)) <= 1e-5 * size**2 + 1e-30).all()


def test_scales_save_small_channels() -> None:
    matrix = row_scaled((256, 512))
    matrix *= np.exp(2 * np.random.default_rng(1).standard_normal((256, 1))).astype(np.float32)
    rows = {
        scaled: np.array(
            [snr_db(row, got) for row, got in zip(matrix, Codebook(16, scaled).decode(encoded), strict=True)]
        )
        for scaled, encoded in ((scaled, Codebook(16, scaled).encode(matrix)) for scaled in (False, True))
    }
    assert rows[True].min() > 18  # 20.2 dB is the optimum for N(0, 1), rows of 512 vary
    assert rows[False].min() < 5


def test_damaged_scales() -> None:
    codec = Codebook(4, scaled=True)
    encoded = codec.encode(normal((4, 4)))
    short = Encoded({**encoded.arrays, "scales": encoded.arrays["scales"][:3]}, encoded.shape)
    with pytest.raises(ArtifactError, match="scales of shape"):
        codec.decode(short)
