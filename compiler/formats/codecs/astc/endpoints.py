"""Colour endpoint modes (CEM): how decoded integers make the two colours that a block interpolates between.

Khronos Data Format Specification, chapter "ASTC Compressed Texture Image Formats", section "Endpoint Decoding". Weights
need modes 0 and 1, luminance; with the other modes of low dynamic range (LDR), blocks of any encoder can be read. Modes
of high dynamic range give the error colour to the partitions that use them, as the specification's LDR profile says.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.int32]

LUMINANCE = 0
LUMINANCE_OFFSET = 1
ERROR_COLOUR = (255, 0, 255, 255)
_HDR = (2, 3, 7, 11, 14, 15)


def values_of(mode: int) -> int:
    """Integers that an endpoint mode takes: 2, 4, 6 or 8."""
    return 2 * (mode >> 2) + 2


def decode(mode: int, v: Values) -> Values:
    """Both endpoints, int32 [2, 4 (RGBA), blocks] in 0 to 255, from int32 [values, blocks]."""
    blocks = v.shape[1]
    opaque = np.full(blocks, 255, np.int32)
    if mode in _HDR:
        error = np.repeat(np.array(ERROR_COLOUR, np.int32)[:, None], blocks, axis=1)
        return np.stack([error, error])
    if mode == LUMINANCE:
        return _grey(v[0], v[1], opaque, opaque)
    if mode == LUMINANCE_OFFSET:
        low = v[0] >> 2 | v[1] & 0xC0
        return _grey(low, np.minimum(255, low + (v[1] & 0x3F)), opaque, opaque)
    if mode == 4:  # luminance and alpha
        return _grey(v[0], v[1], v[2], v[3])
    if mode == 5:  # the same, as base and offset
        (base, alpha), (offset, alpha_offset) = _signed_offsets(v[0::2], v[1::2])
        return _clamp(_grey(base, base + offset, alpha, alpha + alpha_offset))
    if mode in (6, 10):  # colour and scale, with two alphas or without
        alphas = (opaque, opaque) if mode == 6 else (v[4], v[5])
        return _pair(v[:3] * v[3] >> 8, v[:3], *alphas)
    alphas = (v[6], v[7]) if mode in (12, 13) else (opaque, opaque)
    if mode in (8, 12):  # two colours
        first, second = _pair(v[0:6:2], v[1:6:2], *alphas)
        swapped = v[1:6:2].sum(axis=0) < v[0:6:2].sum(axis=0)
        return _contract_where(swapped, first, second)
    base, offset = _signed_offsets(v[0::2], v[1::2])  # modes 9 and 13
    if mode == 13:
        alphas = (base[3], base[3] + offset[3])
    first, second = _pair(base[:3], base[:3] + offset[:3], *alphas)
    return _clamp(_contract_where(offset[:3].sum(axis=0) < 0, first, second))


def _grey(low: Values, high: Values, low_alpha: Values, high_alpha: Values) -> Values:
    return np.stack([np.stack([low, low, low, low_alpha]), np.stack([high, high, high, high_alpha])])


def _pair(low: Values, high: Values, low_alpha: Values, high_alpha: Values) -> Values:
    return np.stack([np.vstack([low, low_alpha[None]]), np.vstack([high, high_alpha[None]])])


def _clamp(endpoints: Values) -> Values:
    return np.clip(endpoints, 0, 255)


def _signed_offsets(base: Values, offset: Values) -> tuple[Values, Values]:
    """The base's eighth bit is the offset's top bit; the offset is a signed 6-bit number."""
    base = base >> 1 | offset & 0x80
    offset = offset >> 1 & 0x3F
    return base, np.where(offset & 0x20, offset - 0x40, offset).astype(np.int32)


def _contract_where(swapped: npt.NDArray[np.bool_], first: Values, second: Values) -> Values:
    """Blocks whose second colour is darker exchange both, and average red and green with blue."""

    def contract(colour: Values) -> Values:
        red, green, blue, alpha = colour
        return np.stack([(red + blue) >> 1, (green + blue) >> 1, blue, alpha])

    return np.stack([np.where(swapped, contract(second), first), np.where(swapped, contract(first), second)])
