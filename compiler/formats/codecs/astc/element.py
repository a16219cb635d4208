"""The element decoder of blocks that share one scheme (see encode.py): one partition, one plane, luminance.

Khronos Data Format Specification, chapter "ASTC Compressed Texture Image Formats". In three steps, so that nothing is
computed for a texel that holds for its block: the endpoints of every block, the weights of every block, then texels.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt

from tilewright.formats.codecs.astc import infill, ise, modes, quantization
from tilewright.formats.codecs.astc.encode import Scheme
from tilewright.formats.element import Element, Extents, Loads, Ops, Value, ceildiv

_NOWHERE = modes.BLOCK_BITS  # the place of a digit bit that a short last group lacks: it reads as zero
_DIGITS = {3: 8, 5: 7}  # bits of a group's digit word

Table = npt.NDArray[np.int32]


def decoder(ops: Ops, loads: Loads, shape: Extents, scheme: Scheme, zero: int) -> Element:
    """The weight at (row, column): ``float32(C - zero) * scales[row]``.

    Args:
        loads: "blocks" and "scales".
        shape: of the payload.
        scheme: of every block.
        zero: C that stands for a weight of zero.
    """
    width, height = scheme.footprint
    across = ceildiv(shape[1], width)
    blocks = ceildiv(shape[0], height) * across
    mode, kind = scheme.mode, scheme.endpoint_range
    ends = _symbols(ops, loads["blocks"], _positions(kind, 2, modes.ENDPOINTS_AT, upward=True), kind)
    endpoint = ops.table(quantization.endpoint_values(kind).astype(np.int32))
    endpoints = ops.compute((blocks, 2), lambda block, end: endpoint[ends(block, end)], "int32")
    symbols = _symbols(ops, loads["blocks"], _positions(mode.weight_range, mode.weights, 0, False), mode.weight_range)
    value = ops.table(quantization.weight_values(mode.levels).astype(np.int32))
    weights = ops.compute((blocks, mode.weights), lambda block, place: value[symbols(block, place)], "int32")
    corners = None if scheme.direct else tuple(map(ops.table, _corners(scheme)))

    def weight(block: Value, texel: Value) -> Value:
        if corners is None:
            return weights[block, texel]
        place, factor = corners
        parts = [weights[block, place[texel * 4 + n]] * factor[texel * 4 + n] for n in range(4)]
        return (parts[0] + parts[1] + parts[2] + parts[3] + 8) // 16

    def element(row: Value, column: Value) -> Value:
        block = row // height * across + column // width
        texel = row % height * width + column % width
        low, high = endpoints[block, 0], endpoints[block, 1]
        mixed = low * 64 + (high - low) * weight(block, texel)
        return ((mixed * 257 + 32) // 64 - zero).astype("float32") * loads["scales"][row]

    return element


def _symbols(ops: Ops, blocks: Value, positions: tuple[Table, Table], kind: ise.Range) -> Element:
    """The function of (block, number) that reads a symbol; ``positions`` are those of its bits in the block."""
    low, digits = positions
    low_at, digit_at = ops.table(low.ravel()), ops.table(digits.ravel())
    size = len(kind.pieces)
    digit = ops.table(ise.digits(kind.base).T.ravel().astype(np.int32)) if kind.base > 1 else None

    def bit(block: Value, at: Value) -> Value:
        inside = at < _NOWHERE
        byte = blocks[block * modes.BLOCK_BYTES + ops.where(inside, at // 8, 0)]
        return ops.where(inside, ops.shift_right(byte, at % 8) % 2, 0)

    def gather(block: Value, places: Value, first: Value, count: int) -> Value:
        total: Value = 0
        for place in range(count):
            total = bit(block, places[first + place]) * 2**place + total
        return total

    def element(block: Value, number: Value) -> Value:
        plain = gather(block, low_at, number * kind.bits, kind.bits)
        if digit is None:
            return plain
        word = gather(block, digit_at, number * _DIGITS[kind.base], _DIGITS[kind.base])
        return plain + digit[word * size + number % size] * 2**kind.bits

    return element


@cache
def _positions(kind: ise.Range, count: int, start: int, upward: bool) -> tuple[Table, Table]:
    """Where the bits of ``count`` symbols lie in a block: plain bits [count, bits] and digit words [count, 8 or 7].

    Streams run upward from bit ``start``, or downward from the top of the block.
    """
    low = np.zeros((count, kind.bits), np.int32)
    word = np.full((count, _DIGITS.get(kind.base, 0)), _NOWHERE, np.int32)
    size, end, at = len(kind.pieces), kind.length(count), 0
    for first in range(0, count, size):
        members = range(first, min(first + size, count))
        seen = 0
        for place, piece in enumerate(kind.pieces):
            if first + place < count:
                low[first + place] = at + np.arange(kind.bits)
            at += kind.bits
            for _ in range(piece):
                if at < end:
                    word[members, seen] = at
                at, seen = at + 1, seen + 1
    in_word = word < _NOWHERE
    if upward:
        return low + start, np.where(in_word, word + start, _NOWHERE)
    top = modes.BLOCK_BITS - 1
    return top - low, np.where(in_word, top - word, _NOWHERE)


def _corners(scheme: Scheme) -> tuple[Table, Table]:
    """The four grid weights of every texel and their sixteenths, int32 [texels, 4] flattened; unused ones have 0."""
    factors = infill.matrix(scheme.footprint, (scheme.mode.width, scheme.mode.height))
    places = np.argsort(factors == 0, axis=1, kind="stable")[:, :4]
    return places.astype(np.int32).ravel(), np.take_along_axis(factors, places, 1).astype(np.int32).ravel()
