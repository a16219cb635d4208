"""Our encoder: legal blocks that the reference codec decodes to our own values, the subset's SNR, the error bound."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from tilewright.formats.codecs.astc import decode, encode, endpoints, ise, modes, oracle, quantization

footprints = pytest.mark.parametrize("footprint", modes.FOOTPRINTS, ids=lambda f: f"{f[0]}x{f[1]}")


def normal(footprint: tuple[int, int], blocks: int) -> npt.NDArray[np.float32]:
    """Texels of a normal distribution that fills the range of endpoints, as the codec scales a matrix."""
    rng = np.random.default_rng(footprint)
    texels = 128 + 127 / 5 * rng.standard_normal((footprint[0] * footprint[1], blocks))
    return texels.clip(0, 255).astype(np.float32)


def decoded(blocks: npt.NDArray[np.uint8], footprint: tuple[int, int]) -> npt.NDArray[np.float32]:
    """Texels [texels, blocks] in units of endpoints."""
    texels = decode.decode(blocks, footprint, 1)
    return texels.reshape(len(blocks), -1).T.astype(np.float32) / np.float32(257)


# SNR in dB that this subset of ASTC reaches on N(0, 1), found by a slow search over endpoints, block by block.
SNR = [
    ((4, 4), 32, 30.0),
    ((5, 4), 24, 27.1),
    ((5, 5), 12, 20.4),
    ((6, 5), 8, 16.7),
    ((6, 6), 6, 13.7),
    ((8, 5), 5, 12.2),
    ((8, 6), 3, 7.8),
    ((10, 5), 3, 7.8),
    ((10, 6), 2, 4.6),
    ((8, 8), 2, 4.6),
]


@pytest.mark.parametrize(("footprint", "levels", "reached"), SNR)
def test_snr(footprint: tuple[int, int], levels: int, reached: float) -> None:
    texels = normal(footprint, 4000)
    for scheme in {encode.scheme_of(footprint, levels), encode.scheme_of(footprint)}:  # the finest is no worse
        error = decoded(encode.encode(texels, scheme), footprint) - texels
        snr = 10 * np.log10(np.mean((texels - 128) ** 2) / np.mean(error**2))
        assert snr > reached - 0.3


@footprints
def test_the_reference_codec_agrees(footprint: tuple[int, int]) -> None:
    pytest.importorskip("astc_encoder", reason="the reference codec is missing: pip install astc-encoder-py")
    for levels in modes.WEIGHT_LEVELS:
        try:
            scheme = encode.scheme_of(footprint, levels)
        except ValueError:
            continue
        blocks = encode.encode(normal(footprint, 50), scheme)
        texels, illegal = decode.decode_checked(blocks, footprint)
        assert not illegal.any()
        np.testing.assert_array_equal(decode.float16_of(texels), oracle.decompress(blocks, footprint, np.float16))
        np.testing.assert_array_equal(decode.unorm8_of(texels), oracle.decompress(blocks, footprint, np.uint8))


@footprints
def test_all_blocks_have_the_scheme(footprint: tuple[int, int]) -> None:
    """What a kernel relies on: mode, one partition and CEM 0 in the lowest 17 bits of every block."""
    scheme = encode.scheme_of(footprint)
    words = ise.words_of(encode.encode(normal(footprint, 64), scheme))
    header = modes.code_of(scheme.mode) | endpoints.LUMINANCE << 13
    np.testing.assert_array_equal(ise.extract(words, 0, 17), header)


@pytest.mark.parametrize("footprint", [(4, 4), (6, 6), (8, 5), (8, 8)])
def test_never_worse_than_plain_quantisation(footprint: tuple[int, int]) -> None:
    """On blocks that span a few endpoint codes, where rounding refined endpoints can undo what refining gained."""
    rng = np.random.default_rng(footprint)
    texels = 128 + rng.uniform(0, 3, (1, 3000)) * rng.uniform(-1, 1, (footprint[0] * footprint[1], 3000))
    scheme = encode.scheme_of(footprint)
    error = decoded(encode.encode(texels.astype(np.float32), scheme), footprint) - texels
    low, high = np.rint(texels.min(axis=0)), np.rint(texels.max(axis=0))
    choices = low + (high - low) * quantization.weight_values(scheme.mode.levels)[:, None, None] / 64
    plain = np.abs(choices - texels).min(axis=0)
    rounding = 1 / 257 + scheme.direct * 3 / 512  # of C; of the table of nearest weights, at most 3 codes apart
    assert (np.sqrt((error**2).mean(axis=0)) <= np.sqrt((plain**2).mean(axis=0)) + rounding).all()


@footprints
def test_error_bound(footprint: tuple[int, int]) -> None:
    """No block is worse than plain quantisation between its extremes, each rounded to the nearest endpoint."""
    rng = np.random.default_rng(footprint)
    spread = rng.choice([0, 0.01, 1, 30, 127], (1, 500))
    texels = (128 + spread * rng.uniform(-1, 1, (footprint[0] * footprint[1], 500))).astype(np.float32)
    scheme = encode.scheme_of(footprint)
    error = decoded(encode.encode(texels, scheme), footprint) - texels
    assert (np.sqrt((error**2).mean(axis=0)) <= bound(texels, scheme)).all()


def bound(texels: npt.NDArray[np.float32], scheme: encode.Scheme) -> npt.NDArray[np.float32]:
    """Root mean square error that plain quantisation guarantees, per block."""
    extent = texels.max(axis=0) - texels.min(axis=0)
    step = np.diff(np.sort(quantization.endpoint_values(scheme.endpoint_range).astype(int))).max()
    if scheme.direct:
        gap = np.diff(np.sort(quantization.weight_values(scheme.mode.levels).astype(int))).max() / 64
        nearest = gap / 2 + 2**-10  # the table of nearest weights has 512 steps
    else:
        nearest = 1.0  # an interpolated weight can be anywhere between the endpoints
    rounding = 1 / 257 + 1e-4  # of C, and of float32
    total: npt.NDArray[np.float32] = nearest * (extent + step) + step / 2 + rounding
    return total


def test_bit_fields_of_a_kernel() -> None:
    """What encode.py promises of levels that are a power of two, by a decoder of shifts and masks alone."""
    scheme = encode.scheme_of((6, 6), 4)
    texels = normal((6, 6), 20)
    blocks = encode.encode(texels, scheme)
    weights = (0, 21, 43, 64)
    for block, expected in zip(blocks, decode.decode(blocks, (6, 6), 1), strict=True):
        word = int.from_bytes(block.tobytes(), "little")
        e0, e1 = word >> 17 & 255, word >> 25 & 255
        for n, c in enumerate(expected.ravel().tolist()):
            symbol = (word >> (127 - 2 * n) & 1) | (word >> (126 - 2 * n) & 1) << 1
            assert c == (257 * e0 * (64 - weights[symbol]) + 257 * e1 * weights[symbol] + 32) >> 6


def test_constant_blocks_are_exact() -> None:
    texels = np.tile(np.arange(256, dtype=np.float32), (36, 1))
    np.testing.assert_array_equal(decoded(encode.encode(texels, encode.scheme_of((6, 6))), (6, 6)), texels)


def test_schemes() -> None:
    for footprint in modes.FOOTPRINTS:
        scheme = encode.scheme_of(footprint)
        width, height = footprint
        assert scheme.direct == (width * height <= 64)
        assert scheme.endpoint_range.levels == (160 if scheme.mode.weight_bits == 96 else 256)
    assert encode.scheme_of((6, 6), 4).mode == modes.Mode(6, 6, 4)
    with pytest.raises(ValueError, match=r"6x6 blocks take weights of \[2, 3, 4, 5, 6\] levels, not 8"):
        encode.scheme_of((6, 6), 8)
