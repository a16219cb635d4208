"""Colour endpoint modes (CEM): how decoded integers make the two colours that a block interpolates between.

Khronos Data Format Specification, chapter "ASTC Compressed Texture Image Formats", section "Endpoint Decoding". Weights
need modes 0 and 1, luminance; with the other modes of low dynamic range (LDR), blocks of any encoder can be read. Modes
of high dynamic range give the error colour to the partitions that use them, as the specification's LDR profile says.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from tilewright.formats.element import NumpyOps, Ops, Value

Values = npt.NDArray[np.int32]
Pair = tuple[Value, Value]

LUMINANCE = 0
LUMINANCE_OFFSET = 1
ERROR_COLOUR = (255, 0, 255, 255)
_HDR = (2, 3, 7, 11, 14, 15)
_BLUE, _ALPHA = 2, 3
_OWN_ALPHA = {4: 2, 5: 2, 10: 4}  # which values are alpha's where it is no part of the colour
_COLOUR_WITH_ALPHA = (12, 13)


def values_of(mode: int) -> int:
    """Integers that an endpoint mode takes: 2, 4, 6 or 8."""
    return 2 * (mode >> 2) + 2


def decode(mode: int, v: Values, channels: int = 4) -> Values:
    """Both endpoints, int32 [2, channels (of RGBA), blocks] in 0 to 255, from int32 [values, blocks]."""
    pairs = [channel(NumpyOps(), mode, list(v), place) for place in range(channels)]
    out = np.empty((2, channels, v.shape[1]), np.int32)
    for place, pair in enumerate(pairs):
        out[0, place], out[1, place] = pair
    return out


def channel(ops: Ops, mode: int, v: Sequence[Value], place: int) -> Pair:
    """One channel of both endpoints.

    Args:
        v: the values of the mode by number, each 0 to 255.
        place: 0 to 3: red, green, blue, alpha.

    Returns:
        Each 0 to 255; a number where it is the same whatever the values are.
    """
    if mode in _HDR:
        return ERROR_COLOUR[place], ERROR_COLOUR[place]
    if place == _ALPHA and mode not in _COLOUR_WITH_ALPHA:
        at = _OWN_ALPHA.get(mode)
        if at is None:
            return 255, 255
        return _moved(ops, v[at], v[at + 1]) if mode == 5 else (v[at], v[at + 1])
    if mode in (LUMINANCE, 4):
        return v[0], v[1]
    if mode == LUMINANCE_OFFSET:
        low = ops.share(v[0] // 4 + v[1] // 64 * 64)
        return low, _clamped(ops, low + v[1] % 64)
    if mode == 5:  # the same, as base and offset
        return _moved(ops, v[0], v[1])
    if mode in (6, 10):  # colour and scale
        return v[place] * v[3] // 256, v[place]
    if mode in (8, 12):  # two colours
        first, second = v[0::2], v[1::2]
        growth = second[0] + second[1] + second[2] - first[0] - first[1] - first[2]
        return _contracted(ops, growth, first, second, place)
    parts = [_signed_offset(ops, v[at], v[at + 1]) for at in range(0, len(v), 2)]  # modes 9, 13
    first, second = [base for base, _ in parts], [base + offset for base, offset in parts]
    growth = parts[0][1] + parts[1][1] + parts[2][1]
    low, high = _contracted(ops, growth, first, second, place)
    return _clamped(ops, low), _clamped(ops, high)


def _clamped(ops: Ops, value: Value) -> Value:
    value = ops.share(value)
    return ops.where(value < 0, 0, ops.where(value < 255, value, 255))


def _moved(ops: Ops, base: Value, offset: Value) -> Pair:
    low, step = _signed_offset(ops, base, offset)
    return low, _clamped(ops, low + step)


def _signed_offset(ops: Ops, base: Value, offset: Value) -> Pair:
    """The base's eighth bit is the offset's top bit; the offset is a signed 6-bit number."""
    step = ops.share(offset // 2 % 64)
    return ops.share(base // 2 + offset // 128 * 128), ops.share(ops.where(step < 32, step, step - 64))


def _contracted(ops: Ops, growth: Value, first: Sequence[Value], second: Sequence[Value], place: int) -> Pair:
    """Colours whose second is darker are exchanged, and their red and green averaged with blue."""

    def contract(colour: Sequence[Value]) -> Value:
        if place in (_BLUE, _ALPHA):
            return colour[place]
        return (colour[place] + colour[_BLUE] + 64) // 2 - 32  # rounded down, of numbers above -33

    swapped = ops.share(growth) < 0
    return ops.where(swapped, contract(second), first[place]), ops.where(swapped, contract(first), second[place])
