"""What stored weight and endpoint symbols stand for.

Khronos Data Format Specification, chapter "ASTC Compressed Texture Image Formats", sections "Weight Unquantization" and
"Endpoint Unquantization".
"""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt

from tilewright.formats.codecs.astc import ise

# The spec gives these by bit tricks; as tables, by symbol, they are what a kernel needs. 64 is the second endpoint.
_WEIGHTS: dict[int, list[int]] = {
    2: [0, 64],
    3: [0, 32, 64],
    4: [0, 21, 43, 64],
    5: [0, 16, 32, 48, 64],
    6: [0, 64, 12, 52, 25, 39],
    8: [0, 9, 18, 27, 37, 46, 55, 64],
    10: [0, 64, 7, 57, 14, 50, 21, 43, 28, 36],
    12: [0, 64, 17, 47, 5, 59, 23, 41, 11, 53, 28, 36],
    16: [0, 4, 8, 12, 17, 21, 25, 29, 35, 39, 43, 47, 52, 56, 60, 64],
    20: [0, 64, 16, 48, 3, 61, 19, 45, 6, 58, 23, 41, 9, 55, 26, 38, 13, 51, 29, 35],
    24: [0, 64, 8, 56, 16, 48, 24, 40, 2, 62, 11, 53, 19, 45, 27, 37, 5, 59, 13, 51, 22, 42, 30, 34],
    32: [2 * v + (v >> 4) * 2 for v in range(32)],
}

# Replacement of the bits b (bit 1), c, d, ... of a value in the 9-bit number B, most significant first; and C.
_ENDPOINT_PATTERNS: dict[tuple[int, int], tuple[str, int]] = {
    (3, 1): ("000000000", 204),
    (3, 2): ("b000b0bb0", 93),
    (3, 3): ("cb000cbcb", 44),
    (3, 4): ("dcb000dcb", 22),
    (3, 5): ("edcb000ed", 11),
    (3, 6): ("fedcb000f", 5),
    (5, 1): ("000000000", 113),
    (5, 2): ("b0000bb00", 54),
    (5, 3): ("cb0000cbc", 26),
    (5, 4): ("dcb0000dc", 13),
    (5, 5): ("edcb0000e", 6),
}


@cache
def weight_values(levels: int) -> npt.NDArray[np.uint8]:
    """Weight in 0 to 64 by symbol, uint8 [levels]."""
    return np.array(_WEIGHTS[levels], np.uint8)


@cache
def weight_order(levels: int) -> npt.NDArray[np.uint8]:
    """The symbols in order of the weights that they stand for, uint8 [levels]."""
    return np.argsort(weight_values(levels)).astype(np.uint8)


@cache
def endpoint_values(kind: ise.Range) -> npt.NDArray[np.uint8]:
    """Endpoint in 0 to 255 by symbol, uint8 [levels]."""
    return np.array([_endpoint(symbol, kind) for symbol in range(kind.levels)], np.uint8)


@cache
def nearest_endpoint(kind: ise.Range) -> npt.NDArray[np.uint8]:
    """The symbol that stands for the endpoint nearest to a number in 0 to 255, uint8 [256]."""
    distance = np.abs(np.arange(256)[:, None] - endpoint_values(kind).astype(int))
    symbols: npt.NDArray[np.uint8] = distance.argmin(axis=1).astype(np.uint8)
    return symbols


def _endpoint(symbol: int, kind: ise.Range) -> int:
    if kind.base == 1:  # the bits repeated downward
        repeated = format(symbol, f"0{kind.bits}b") * 8
        return int(repeated[:8], 2)
    pattern, scale = _ENDPOINT_PATTERNS[kind.base, kind.bits]
    low, digit = symbol & ((1 << kind.bits) - 1), symbol >> kind.bits
    spread = int("".join("0" if c == "0" else str(low >> (ord(c) - ord("a")) & 1) for c in pattern), 2)
    flip = 0x1FF if low & 1 else 0
    value = (digit * scale + spread) ^ flip
    return (flip & 0x80) | value >> 2
