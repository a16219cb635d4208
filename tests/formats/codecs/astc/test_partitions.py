"""Partition patterns: all 1,024 seeds against the reference codec."""

from __future__ import annotations

import numpy as np
import pytest

from tests.formats.codecs.astc.samples import random_blocks, with_low_bits
from tilewright.formats.codecs.astc import decode, modes, oracle, partitions

# A footprint of fewer than 31 texels, whose patterns are magnified, and two larger ones.
FOOTPRINTS = pytest.mark.parametrize("footprint", [(6, 5), (6, 6), (12, 12)])
SEEDS = np.arange(1024, dtype=np.uint64)


@FOOTPRINTS
@pytest.mark.parametrize("count", [2, 3, 4])
def test_against_the_reference_codec(footprint: tuple[int, int], count: int) -> None:
    """Blocks of random endpoints, CEM 0 in all partitions: a texel in a wrong partition gets a wrong colour."""
    pytest.importorskip("astc_encoder", reason="the reference codec is missing: pip install astc-encoder-py")
    code = np.uint64(modes.code_of(modes.Mode(4, 4, 4)) | (count - 1) << 11)
    blocks = with_low_bits(random_blocks(np.random.default_rng(count), 1024), code | SEEDS << np.uint64(13), 29)
    half = oracle.decompress(blocks, footprint, np.float16)
    texels, illegal = decode.decode_checked(blocks, footprint)
    assert not illegal.any()
    np.testing.assert_array_equal(decode.float16_of(texels), half)


@FOOTPRINTS
@pytest.mark.parametrize("count", [2, 3, 4])
def test_shape(footprint: tuple[int, int], count: int) -> None:
    member = partitions.pattern(SEEDS, count, footprint)
    assert member.shape == (footprint[0] * footprint[1], 1024)
    assert set(np.unique(member)) == set(range(count))
