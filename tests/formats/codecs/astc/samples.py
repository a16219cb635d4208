"""Random blocks, legal and not, for comparison with the reference codec."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tilewright.formats.codecs.astc import ise, modes

Blocks = npt.NDArray[np.uint8]


def random_blocks(rng: np.random.Generator, count: int) -> Blocks:
    """128 random bits each: mostly illegal."""
    return rng.integers(0, 256, (count, modes.BLOCK_BYTES), dtype=np.uint8)


def with_low_bits(blocks: Blocks, values: npt.ArrayLike, bits: int) -> Blocks:
    """The blocks with their lowest bits replaced."""
    words = ise.words_of(blocks)
    words[0] = words[0] >> np.uint64(bits) << np.uint64(bits) | np.asarray(values, np.uint64)
    return ise.blocks_of(words)


def one_plane_modes(footprint: tuple[int, int]) -> list[int]:
    """Codes of the block modes with one plane whose luminance endpoints fit with one partition."""
    legal = [(code, modes.parse(code)) for code in modes.legal_modes(footprint)]
    return [
        code
        for code, mode in legal
        if mode is not None and not mode.dual and modes.endpoint_range(2, 111 - mode.weight_bits) is not None
    ]


def luminance_blocks(rng: np.random.Generator, footprint: tuple[int, int], count: int) -> Blocks:
    """Legal blocks with one partition, one plane and luminance endpoints, direct and base with offset in turn.

    Every block mode occurs where ``count`` suffices; endpoints and weights are random.
    """
    codes = np.resize(one_plane_modes(footprint), count).astype(np.uint64)
    cems = (rng.permutation(count) % 2).astype(np.uint64)
    return with_low_bits(random_blocks(rng, count), codes | cems << np.uint64(13), 17)
