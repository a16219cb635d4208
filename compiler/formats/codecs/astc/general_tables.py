"""What differs between ASTC blocks of different modes, as tables for the element decoder of blocks of any encoder.

Khronos Data Format Specification, chapter "ASTC Compressed Texture Image Formats"; made of the tables of ``decode``.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from tilewright.formats.codecs.astc import infill, ise, modes, partitions, quantization

Table = npt.NDArray[Any]

SEEDS = 1024  # of partition patterns
MOST_VALUES = 18  # of endpoints that a block may have
PIECES = 5  # of a digit word, at most: see ise.Range.pieces
BASES = (1, 3, 5)

# How symbols are encoded: those of weights, of endpoints, and of endpoints that do not fit their block.
_ENDPOINT_RANGES = tuple(kind for kind in ise.RANGES if kind.levels >= modes.MIN_ENDPOINT_LEVELS)
KINDS = (*(ise.BY_LEVELS[levels] for levels in modes.WEIGHT_LEVELS), *_ENDPOINT_RANGES, ise.Range(1, 0))
UNFIT = len(KINDS) - 1


@cache
def block_modes(footprint: tuple[int, int]) -> Table:
    """By block mode: the grid's width and height, kind of weights, planes - 1, bits of weights.

    Fields of 4, 4, 4, 1 and 7 bits; all 0 where the mode is not legal.
    """
    table = np.zeros(1 << modes.MODE_BITS, np.int32)
    for code in modes.legal_modes(footprint):
        mode = modes.parse(code)
        assert mode is not None
        kind = modes.WEIGHT_LEVELS.index(mode.levels)
        table[code] = mode.width | mode.height << 4 | kind << 8 | mode.dual << 12 | mode.weight_bits << 13
    return table


@cache
def fitting() -> Table:
    """The kind of endpoints by half their number, up to those of four partitions of eight, and by bits there are."""
    table = np.full((17, modes.BLOCK_BITS), UNFIT, np.uint8)
    for half in range(1, MOST_VALUES // 2 + 1):
        for bits in range(modes.BLOCK_BITS):
            kind = modes.endpoint_range(2 * half, bits)
            if kind is not None:
                table[half, bits] = len(modes.WEIGHT_LEVELS) + _ENDPOINT_RANGES.index(kind)
    return table.ravel()


@cache
def places() -> tuple[Table, Table, Table]:
    """By base and number of a symbol: its group, its place there, and how many bits of digits come before it."""
    groups, members, before = [], [], []
    for base in BASES:
        pieces = ise.Range(base, 0).pieces
        numbers = np.arange(modes.MOST_WEIGHTS)
        group, member = divmod(numbers, len(pieces)) if base > 1 else (0 * numbers, 0 * numbers)
        groups.append(group)
        members.append(member)
        before.append(group * sum(pieces) + np.cumsum([0, *pieces])[member])
    return np.ravel(groups), np.ravel(members), np.ravel(before)


@cache
def pieces() -> tuple[Table, Table, Table]:
    """By base: symbols of a group; bits of the pieces of its digit word, ``PIECES`` a base; what they count there."""
    lengths = np.zeros((len(BASES), PIECES), np.int32)
    for row, base in zip(lengths, BASES, strict=True):
        row[: len(ise.Range(base, 0).pieces)] = ise.Range(base, 0).pieces
    sizes = np.array([len(ise.Range(base, 0).pieces) for base in BASES])
    return sizes, lengths.ravel(), 1 << (np.cumsum(lengths, axis=1) - lengths).ravel()


@cache
def digits() -> tuple[Table, Table, Table]:
    """By base: digits of a word, and where its digits begin; and digits by word and place. Base 1 has the digit 0."""
    parts = [np.zeros((1, 1), np.uint8), *(ise.digits(base).T for base in BASES[1:])]
    starts = np.cumsum([0, *(part.size for part in parts[:-1])])
    return np.array([part.shape[1] for part in parts]), starts, np.concatenate([part.ravel() for part in parts])


@cache
def values() -> tuple[Table, Table]:
    """By kind: where its values begin; and values by symbol."""
    parts = [quantization.weight_values(levels) for levels in modes.WEIGHT_LEVELS]
    parts += [quantization.endpoint_values(kind) for kind in _ENDPOINT_RANGES]
    parts.append(np.zeros(1, np.uint8))
    return np.cumsum([0, *(len(part) for part in parts[:-1])]), np.concatenate(parts)


def axis(texels: int) -> Table:
    """By size of the grid, up to ``texels``, and texel: the grid point below it times 16, plus sixteenths above it."""
    table = np.zeros((texels + 1, texels), np.int32)
    for grid in range(1, texels + 1):
        point, above = infill.axis(texels, grid)
        table[grid] = point * 16 + above
    return table.ravel()


@cache
def planes() -> Table:
    """By number of partitions, 2 to 4, by seed and partition: see ``partitions.planes``. Fields of 4, 4 and 6 bits."""
    table = np.zeros((3, SEEDS, 4), np.int32)
    for count in (2, 3, 4):
        found = partitions.planes(np.arange(SEEDS, dtype=np.uint64), count).astype(np.int32)
        table[count - 2, :, :count] = (found[:, 0] | found[:, 1] << 4 | found[:, 2] << 8).T
    return table.ravel()
