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
    zoom = 2 if width * height < 31 else 1
    y, x = (np.mgrid[:height, :width].reshape(2, -1, 1) * zoom).astype(np.uint32)
    seed = seeds.astype(np.uint32) + np.uint32((partitions - 1) * 1024)
    number = _hash(seed)

    first = np.where(seed & 2, 4, 5)
    second = np.full_like(first, 6 if partitions == 3 else 5)
    odd = (seed & 1).astype(bool)
    shifts = np.where(odd, first, second).astype(np.uint32), np.where(odd, second, first).astype(np.uint32)

    def factor(shift: int, which: int) -> U32:
        nibble = number >> np.uint32(shift) & np.uint32(15)
        return nibble * nibble >> shifts[which]

    # Slope along x, slope along y, and offset of the four partitions: bits of the hash.
    heights = [
        factor(start, 0) * x + factor(start + 4, 1) * y + (number >> np.uint32(offset))
        for start, offset in ((0, 14), (8, 10), (16, 6), (24, 2))
    ]
    levels = np.stack([level & np.uint32(63) for level in heights[:partitions]])
    member: npt.NDArray[np.intp] = levels.argmax(axis=0)  # the first of equals
    return member
