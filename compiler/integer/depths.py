"""Bit depths: how many bits an integer takes where it is stored without padding.

An integer of depth B is unsigned, 0 to 2^B - 1, or signed in two's complement, -2^(B-1) to 2^(B-1) - 1: the two
asymmetries of variable bit depth (arXiv 2301.13142). Zero points say what stands for zero.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from numpy.typing import ArrayLike

DEPTHS = (4, 5, 6, 7, 8, 10, 12, 16)
"""The depths of a variable-bit-depth NNA: those published for PowerVR Series2NX."""


def packed_bytes(count: int, bits: int) -> int:
    """Bytes of ``count`` integers of ``bits`` bits, one after another without padding."""
    return (count * bits + 7) // 8


def depth_of(values: ArrayLike, depths: Collection[int] = DEPTHS) -> int:
    """The least of the depths that holds all signed integers.

    Raises:
        ValueError: none does.
    """
    integers = np.asarray(values, np.int64)
    low, high = int(integers.min(initial=0)), int(integers.max(initial=0))
    found = [bits for bits in sorted(depths) if -(1 << bits - 1) <= low and high < 1 << bits - 1]
    if not found:
        raise ValueError(f"integers from {low} to {high} have more than {max(depths)} bits")
    return found[0]


def entropy_bits(values: ArrayLike) -> float:
    """Bits of all values at the zero-order entropy of their distribution: what no code without context gets below."""
    _, counts = np.unique(np.asarray(values), return_counts=True)
    return float((counts * np.log2(counts.sum() / counts)).sum())
