"""Which of two to four partitions a texel belongs to.

Khronos Data Format Specification, chapter "ASTC Compressed Texture Image Formats", section "Partition Pattern
Generation". Only blocks of other encoders have partitions.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

U32 = npt.NDArray[np.uint32]


def _hash(number: U32) -> U32:
    """The specification's hash, on unsigned 32-bit numbers that wrap around."""
    number = number ^ (number >> np.uint32(15))
    number = number * np.uint32(0xEEDE0891)
    number = number ^ (number >> np.uint32(5))
    number = number + (number << np.uint32(16))
    number = number ^ (number >> np.uint32(7))
    number = number ^ (number >> np.uint32(3))
    number = number ^ (number << np.uint32(6))
    return number ^ (number >> np.uint32(17))


def pattern(seeds: npt.NDArray[np.uint64], partitions: int, footprint: tuple[int, int]) -> npt.NDArray[np.intp]:
    """The partition of every texel, [texels, blocks], from every block's 10-bit seed."""
    width, height = footprint
    y, x = (np.mgrid[:height, :width].reshape(2, -1, 1) * zoom(footprint)).astype(np.uint32)
    levels = np.stack([(right * x + down * y + at) & np.uint32(63) for right, down, at in planes(seeds, partitions)])
    member: npt.NDArray[np.intp] = levels.argmax(axis=0)  # the first of equals
    return member


def zoom(footprint: tuple[int, int]) -> int:
    """What texel coordinates are multiplied with: the patterns of small blocks are magnified."""
    return 2 if footprint[0] * footprint[1] < 31 else 1


def planes(seeds: npt.NDArray[np.uint64], partitions: int) -> U32:
    """What decides between partitions: a texel's is that of the greatest ``(right * x + down * y + at) % 64``.

    Returns:
        uint32 [partitions, 3, seeds]: slopes along x and y in 0 to 14, and the number at the origin in 0 to 63.
    """
    seed = seeds.astype(np.uint32) + np.uint32((partitions - 1) * 1024)
    number = _hash(seed)

    first = np.where(seed & 2, 4, 5)
    second = np.full_like(first, 6 if partitions == 3 else 5)
    odd = (seed & 1).astype(bool)
    shifts = np.where(odd, first, second).astype(np.uint32), np.where(odd, second, first).astype(np.uint32)

    def factor(shift: int, which: int) -> U32:
        nibble = number >> np.uint32(shift) & np.uint32(15)
        return nibble * nibble >> shifts[which]

    found = [
        (factor(start, 0), factor(start + 4, 1), number >> np.uint32(offset) & np.uint32(63))
        for start, offset in ((0, 14), (8, 10), (16, 6), (24, 2))
    ]
    return np.array(found[:partitions], np.uint32)
