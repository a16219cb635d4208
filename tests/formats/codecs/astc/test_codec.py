"""The codec: sizes, round trip within the encoder's bound, exact arithmetic of the decoder, bad input."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tests.formats.codecs.astc.test_encode import bound
from tilewright.errors import ArtifactError, DataError
from tilewright.formats.base import Encoded
from tilewright.formats.codecs.astc import Astc, codec, decode, encode, modes, oracle

Matrix = npt.NDArray[np.float32]
SHAPES = st.tuples(st.integers(1, 40), st.integers(1, 40))
LARGE = st.floats(-(2.0**126), 2.0**126, width=32)
MATRICES = SHAPES.flatmap(
    lambda shape: st.one_of(
        arrays(np.float32, shape, elements=st.floats(-4, 4, width=32)),
        arrays(np.float32, shape, elements=LARGE, fill=LARGE),
        st.integers(0, 2**32 - 1).map(lambda s: np.random.default_rng(s).standard_normal(shape, np.float32)),
    )
)


def tiles(matrix: Matrix, footprint: tuple[int, int]) -> Matrix:
    """Blocks [texels, blocks] of a matrix padded by its edges."""
    width, height = footprint
    padded = np.pad(matrix, ((0, -matrix.shape[0] % height), (0, -matrix.shape[1] % width)), mode="edge")
    rows, columns = padded.shape[0] // height, padded.shape[1] // width
    return padded.reshape(rows, height, columns, width).transpose(1, 3, 0, 2).reshape(height * width, -1)


@settings(max_examples=150, deadline=None)
@given(MATRICES, st.sampled_from(modes.FOOTPRINTS))
def test_round_trip(matrix: Matrix, footprint: tuple[int, int]) -> None:
    """Size, legality and error of any matrix; the reference codec decodes what we wrote to our own values."""
    ours = Astc(*footprint)
    encoded = ours.encode(matrix)
    assert encoded.nbytes == ours.packed_bytes(matrix.shape)
    decoded = ours.decode(encoded)
    assert (decoded.shape, decoded.dtype) == (matrix.shape, np.float32)

    blocks, scales = encoded.arrays["blocks"].reshape(-1, 16), encoded.arrays["scales"].astype(np.float64)
    texels, illegal = decode.decode_checked(blocks, footprint, 1)
    assert not illegal.any()
    units = (matrix / (257 * scales[:, None]) + 128).astype(np.float32)
    given = tiles(units, footprint)
    error = texels.reshape(len(blocks), -1).T / 257 - given
    assert (np.sqrt((error**2).mean(axis=0)) <= bound(given, encode.scheme_of(footprint))).all()

    # The meaning that codec.py documents, block by block: one rounding, of the product.
    width, height = footprint
    across = -(-matrix.shape[1] // width)
    for place, block in enumerate(texels[..., 0].astype(np.int32)):
        row, column = place // across * height, place % across * width
        part = decoded[row : row + height, column : column + width]
        inside = block[: part.shape[0], : part.shape[1]]
        scale = encoded.arrays["scales"][row : row + height, None]
        np.testing.assert_array_equal(part, (inside - 32896).astype(np.float32) * scale)


@settings(max_examples=30, deadline=None)
@given(MATRICES, st.sampled_from(modes.FOOTPRINTS))
def test_reference_codec(matrix: Matrix, footprint: tuple[int, int]) -> None:
    pytest.importorskip("astc_encoder", reason="the reference codec is missing: pip install astc-encoder-py")
    blocks = Astc(*footprint).encode(matrix).arrays["blocks"].reshape(-1, 16)
    ours = decode.float16_of(decode.decode(blocks, footprint))
    np.testing.assert_array_equal(ours, oracle.decompress(blocks, footprint))


def normal(rows: int, columns: int) -> Matrix:
    return np.random.default_rng(0).standard_normal((rows, columns), np.float32)


def test_sizes() -> None:
    """AlexNet, 60,954,656 weights of two groups in three convolutions: 27.1 MB at 6x6, scales and padding included."""
    convolutions = [(96, 363), (256, 1200), (384, 2304), (384, 1728), (256, 1728)]
    alexnet = [*convolutions, (4096, 9216), (4096, 4096), (1000, 4096)]
    assert sum(rows * columns for rows, columns in alexnet) == 60_954_656
    total = sum(Astc(6, 6).packed_bytes(shape) for shape in alexnet)
    assert total == pytest.approx(27.1e6, rel=0.01)
    assert Astc(6, 6).packed_bytes((7, 13)) == 16 * 2 * 3 + 4 * 7


@pytest.mark.parametrize("footprint", [(4, 4), (6, 6), (8, 5), (8, 8)])
def test_zeros_stay_zero(footprint: tuple[int, int]) -> None:
    matrix = normal(40, 80)
    matrix[8:24] = 0
    codec_ = Astc(*footprint)
    rows = slice(-(-8 // footprint[1]) * footprint[1], 24 // footprint[1] * footprint[1])  # whole blocks of zeros
    assert not codec_.decode(codec_.encode(matrix))[rows].any()
    encoded = codec_.encode(np.zeros((5, 6), np.float32))
    assert not codec_.decode(encoded).any()
    half = decode.float16_of(decode.decode(encoded.arrays["blocks"].reshape(-1, 16), footprint, 1))
    assert (half == codec.ZERO / 65536).all()  # exact on hardware that returns half precision, too


def test_rows_of_any_scale_keep_their_snr() -> None:
    """A common scale would leave nothing of the small rows; 13.7 dB is the SNR of 6x6 on rows of equal scale."""
    matrix = normal(60, 600) * 10.0 ** np.arange(-30, 30, dtype=np.float32)[:, None]
    error = Astc(6, 6).decode(Astc(6, 6).encode(matrix)).astype(np.float64) - matrix
    snr = 10 * np.log10(np.square(matrix.astype(np.float64)).mean(axis=1) / np.square(error).mean(axis=1))
    assert snr.min() > 12
    assert np.mean(snr) > 13.4


def test_an_outlier_costs_its_own_row_only() -> None:
    matrix = normal(60, 600)
    plain = Astc(4, 4).decode(Astc(4, 4).encode(matrix)) - matrix
    matrix[7, 11] = 1000
    error = Astc(4, 4).decode(Astc(4, 4).encode(matrix)) - matrix
    others = np.delete(np.arange(60), range(4, 8))
    assert np.square(error[others]).mean() < 1.3 * np.square(plain[others]).mean()


def test_deterministic_in_any_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    matrix = normal(200, 2000)
    results = []
    for threads in (1, 3):
        monkeypatch.setattr(codec, "_threads", lambda threads=threads: threads)
        results.append(Astc(6, 5).encode(matrix))
    np.testing.assert_array_equal(results[0].arrays["blocks"], results[1].arrays["blocks"])


def test_chunks_across_and_down() -> None:
    """Matrices wider, and higher, than what is encoded at once: the same as in one piece."""
    wide = normal(3, 40_000)
    for matrix in (wide, np.ascontiguousarray(wide.T)):
        encoded = Astc(6, 6).encode(matrix)
        texels = np.clip(matrix / encoded.arrays["scales"][:, None] / np.float32(257) + np.float32(128), 0, 255)
        whole = encode.encode(tiles(texels, (6, 6)), encode.scheme_of((6, 6)))
        np.testing.assert_array_equal(encoded.arrays["blocks"].reshape(-1, 16), whole)


def test_astcenc_is_the_better_encoder() -> None:
    pytest.importorskip("astc_encoder", reason="the reference codec is missing: pip install astc-encoder-py")
    matrix = normal(50, 70)
    errors = []
    for chosen in (Astc(8, 6), Astc(8, 6, astcenc=98)):
        encoded = chosen.encode(matrix)
        assert encoded.nbytes == chosen.packed_bytes(matrix.shape)
        errors.append(np.square(chosen.decode(encoded) - matrix).mean())
    assert errors[1] < errors[0]


def test_spec() -> None:
    assert Astc(6, 6).spec == "astc(6,6)"
    assert Astc(6, 6, levels=4).spec == "astc(6,6,levels=4)"
    assert Astc(12, 10, astcenc=60).spec == "astc(12,10,astcenc=60)"
    assert Astc(6, 6).scheme == encode.scheme_of((6, 6))
    assert Astc(6, 6, astcenc=60).scheme is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"width": 7, "height": 5}, "no blocks of 7x5, only 4x4, 5x4"),
        ({"width": 6, "height": 6, "levels": 7}, "levels, not 7"),
        ({"width": 6, "height": 6, "levels": 4, "astcenc": 60}, "not both"),
        ({"width": 6, "height": 6, "astcenc": 101}, "0 to 100, not 101"),
    ],
)
def test_bad_options(arguments: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Astc(**arguments)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 2e38])
def test_bad_weights(bad: float) -> None:
    matrix = normal(9, 9)
    matrix[3, 4] = bad
    with pytest.raises(DataError, match=r"row 3, column 4|2e\+38"):
        Astc(5, 5).encode(matrix)


def test_damaged_arrays() -> None:
    ours = Astc(6, 6)
    encoded = ours.encode(normal(20, 30))
    blocks = encoded.arrays["blocks"].copy()
    blocks[2, 1] = 0
    with pytest.raises(ArtifactError, match="block at row 2, column 1 is illegal"):
        ours.decode(Encoded({**encoded.arrays, "blocks": blocks}, encoded.shape))
    with pytest.raises(ArtifactError, match="do not hold"):
        ours.decode(Encoded({**encoded.arrays, "blocks": blocks[1:]}, encoded.shape))
    with pytest.raises(ArtifactError, match="do not hold"):
        ours.decode(Encoded(encoded.arrays, (21, 30)))
    with pytest.raises(ArtifactError, match=r"int8 blocks .* do not hold"):
        ours.decode(Encoded({**encoded.arrays, "blocks": blocks.view(np.int8)}, encoded.shape))
