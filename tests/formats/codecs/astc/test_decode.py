"""The decoder against Arm's astcenc, bit for bit: both roundings of every channel of every texel.

astcenc marks an illegal block as a whole by NaN in float16; ours must find the same blocks illegal, and gives them the
specification's LDR error colour. On all other blocks both roundings are compared.
"""

from __future__ import annotations

import numpy as np
import pytest

from tests.formats.codecs.astc.samples import Blocks, luminance_blocks, one_plane_modes, random_blocks, with_low_bits
from tilewright.formats.codecs.astc import decode, modes, oracle

pytest.importorskip("astc_encoder", reason="the reference codec is missing: pip install astc-encoder-py")

LUMINANCE_BLOCKS = 800  # a footprint: 11,200 in all
footprints = pytest.mark.parametrize("footprint", modes.FOOTPRINTS, ids=lambda f: f"{f[0]}x{f[1]}")


def check(blocks: Blocks, footprint: tuple[int, int]) -> int:
    """Compares with the reference codec; returns how many blocks are legal."""
    texels, illegal = decode.decode_checked(blocks, footprint)
    half = oracle.decompress(blocks, footprint, np.float16)
    byte = oracle.decompress(blocks, footprint, np.uint8)
    np.testing.assert_array_equal(illegal, np.isnan(half).all(axis=(1, 2, 3)))
    legal = ~illegal
    ours = decode.float16_of(texels[legal])
    np.testing.assert_array_equal(ours.view(np.uint16), half[legal].view(np.uint16))
    np.testing.assert_array_equal(decode.unorm8_of(texels[legal]), byte[legal])
    np.testing.assert_array_equal(texels[illegal] // 257, np.broadcast_to([255, 0, 255, 255], texels[illegal].shape))
    return int(legal.sum())


@footprints
def test_luminance(footprint: tuple[int, int]) -> None:
    """One partition, one plane, CEM 0 and 1: every weight range and every grid, with infill and without."""
    rng = np.random.default_rng(footprint)
    blocks = luminance_blocks(rng, footprint, LUMINANCE_BLOCKS)
    assert len(one_plane_modes(footprint)) < LUMINANCE_BLOCKS
    assert check(blocks, footprint) == LUMINANCE_BLOCKS >= 10_000 / len(modes.FOOTPRINTS)


@footprints
def test_every_block_mode(footprint: tuple[int, int]) -> None:
    """All 2,048 codes, reserved and illegal ones too, with any number of partitions, planes, and any endpoint modes."""
    rng = np.random.default_rng(footprint)
    blocks = with_low_bits(random_blocks(rng, 2048), np.arange(2048), 11)
    assert 0 < check(blocks, footprint) < 2048


@footprints
def test_random_bits(footprint: tuple[int, int]) -> None:
    check(random_blocks(np.random.default_rng(footprint), 400), footprint)


@footprints
def test_void_extents(footprint: tuple[int, int]) -> None:
    """Constant blocks: the HDR bit and the two reserved bits, right and wrong, with coordinates of every kind."""
    rng = np.random.default_rng(footprint)
    coordinates = [(8191, 8191, 8191, 8191), (0, 8191, 0, 8191), (3, 4, 8, 9)]
    refused = [(5, 5, 1, 2), (1, 2, 5, 5), (6, 5, 1, 2), (1, 2, 6, 5), (0, 0, 0, 0), (8191, 8191, 8191, 8190)]
    words = [
        0x1FC | flags << 9 | sum(edge << 12 + 13 * place for place, edge in enumerate(edges))
        for edges in coordinates + refused
        for flags in range(8)
    ]
    blocks = np.tile(random_blocks(rng, len(words)), (2, 1))
    blocks[:, :8] = np.tile(np.array(words, "<u8"), 2).view(np.uint8).reshape(-1, 8)
    blocks[: len(words), 8:] = 0xFF  # C = 65535 is the one value that half precision rounds up, to 1
    assert check(blocks, footprint) == 2 * len(coordinates)


def test_illegal_blocks_by_name() -> None:
    """Each for one reason, in blocks that are otherwise legal."""
    rng = np.random.default_rng(0)
    good = modes.code_of(modes.Mode(6, 6, 6))
    finest = modes.code_of(modes.Mode(6, 4, 16))  # 96 bits: endpoints have 15 bits, four values need 11
    dual = modes.code_of(modes.Mode(3, 3, 8, dual=True))
    low = {
        "reserved": 0,
        "grid wider than the footprint": modes.code_of(modes.Mode(8, 4, 4)),
        "no room for eight endpoint values": finest | 12 << 13,
        "two planes and four partitions": dual | 3 << 11,
        "HDR void extent": 0x1FC | 7 << 9,
    }
    blocks = with_low_bits(random_blocks(rng, len(low)), list(low.values()), 17)
    assert check(blocks, (6, 6)) == 0
    assert check(with_low_bits(blocks[:1], good, 17), (6, 6)) == 1


def test_one_channel_is_the_red_one() -> None:
    blocks = random_blocks(np.random.default_rng(3), 300)
    for footprint in ((4, 4), (8, 6)):
        np.testing.assert_array_equal(
            decode.decode(blocks, footprint, 1)[..., 0], decode.decode(blocks, footprint)[..., 0]
        )


def test_no_blocks() -> None:
    assert decode.decode(np.zeros((0, 16), np.uint8), (5, 4)).shape == (0, 4, 5, 4)


def test_half_precision_rounds_toward_zero() -> None:
    texels = np.arange(65536, dtype=np.uint16)
    half = decode.float16_of(texels).astype(np.float64)
    exact = texels / 65536
    step = np.spacing(half.astype(np.float16)).astype(np.float64)
    assert half[-1] == 1
    assert (half[:-1] <= exact[:-1]).all()
    assert (exact[:-1] < half[:-1] + step[:-1]).all()
