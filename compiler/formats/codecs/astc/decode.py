"""The decoder of ASTC blocks: all of the two-dimensional LDR profile, bit for bit what the reference codec gives.

Khronos Data Format Specification, chapter "ASTC Compressed Texture Image Formats". A texel's channel is 16 bits wide:

    C = (257 * e0 * (64 - i) + 257 * e1 * i + 32) >> 6

with endpoints e0, e1 in 0 to 255 and the texel's weight i in 0 to 64; integers throughout. ``float16_of`` and
``unorm8_of`` are the two roundings of C that graphics hardware returns.

Any number of partitions, both planes, all LDR endpoint modes and void extents are decoded. Illegal blocks, HDR void
extents and HDR endpoints give the error colour, magenta. Blocks are decoded together where they agree in block mode,
partitions and endpoint modes: all blocks of a tensor from our own encoder.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tilewright.formats.codecs.astc import endpoints, infill, ise, modes, partitions, quantization

Texels = npt.NDArray[np.uint16]
_ERROR = np.array(endpoints.ERROR_COLOUR, np.uint16)[:, None] * np.uint16(257)


@dataclass(frozen=True)
class _Group:
    """What a set of blocks has in common."""

    mode: modes.Mode
    cems: tuple[int, ...]  # endpoint mode of every partition
    spare: int  # bits between the endpoints and the weights that belong to the endpoint modes


def decode(blocks: npt.NDArray[np.uint8], footprint: tuple[int, int], channels: int = 4) -> Texels:
    """Decodes blocks.

    Args:
        blocks: uint8 [blocks, 16].
        footprint: width and height in texels, one of ``modes.FOOTPRINTS``.
        channels: how many of red, green, blue, alpha to return; a weight tensor needs 1.

    Returns:
        C of every texel, uint16 [blocks, height, width, channels].
    """
    texels, _ = decode_checked(blocks, footprint, channels)
    return texels


def decode_checked(
    blocks: npt.NDArray[np.uint8], footprint: tuple[int, int], channels: int = 4
) -> tuple[Texels, npt.NDArray[np.bool_]]:
    """Like ``decode``; and which blocks are illegal as a whole, bool [blocks]."""
    width, height = footprint
    words = ise.words_of(blocks)
    count = words.shape[1]
    out = np.empty((count, channels, height * width), np.uint16)
    illegal = np.zeros(count, bool)
    for chosen, group in _groups(words, footprint):
        part = words[:, chosen]
        texels = None if group is None else _interpolate(part, group, footprint, channels)
        if texels is None:
            illegal[chosen] = True
            out[chosen] = _ERROR[:channels]
        else:
            out[chosen] = texels.transpose(2, 0, 1)
    void = (words[0] & np.uint64(0x1FF)) == modes.VOID
    if void.any():
        legal, colour = _void_extents(words[:, void])
        out[void] = np.where(legal, colour, _ERROR).T[:, :channels, None]
        illegal[void] = ~legal
    return out.transpose(0, 2, 1).reshape(count, height, width, channels), illegal


def float16_of(texels: Texels) -> npt.NDArray[np.float16]:
    """C as hardware returns it in half precision: 1 if C is 65535, else C / 65536 rounded toward zero."""
    exact = texels.astype(np.float32) / np.float32(65536)
    nearest = exact.astype(np.float16)
    down = nearest.view(np.uint16) - (nearest > exact)  # one step toward zero where rounding went up
    return np.where(texels == 65535, np.float16(1), down.view(np.float16))


def unorm8_of(texels: Texels) -> npt.NDArray[np.uint8]:
    """C as hardware returns it in eight bits: C >> 8."""
    return (texels >> np.uint16(8)).astype(np.uint8)


def _groups(words: ise.Words, footprint: tuple[int, int]) -> Iterator[tuple[npt.NDArray[np.intp], _Group | None]]:
    """Yields (indices of blocks, what they have in common; None where they are illegal), without void extents."""
    header = ise.extract(words, 0, 13)
    keys, member = np.unique(header, return_inverse=True)
    order = np.argsort(member, kind="stable")
    bounds = np.searchsorted(member[order], np.arange(len(keys) + 1))
    for place, key in enumerate(keys.tolist()):
        if key & 0x1FF == modes.VOID:
            continue
        chosen = order[bounds[place] : bounds[place + 1]]
        mode, count = modes.parse(key & 0x7FF), (key >> 11) + 1
        if mode is None or not mode.fits(footprint) or (mode.dual and count == 4):
            yield chosen, None
            continue
        part = words[:, chosen]
        kinds = ise.extract(part, 13, 4) if count == 1 else _endpoint_kinds(part, mode, count)
        for kind in np.unique(kinds).tolist():
            cems, spare = _endpoint_modes(kind, count)
            yield chosen[kinds == kind], _Group(mode, cems, spare)


def _endpoint_kinds(words: ise.Words, mode: modes.Mode, count: int) -> npt.NDArray[np.uint64]:
    """The number that says the endpoint modes of several partitions; its high bits lie just below the weights."""
    kinds = ise.extract(words, 23, 6)
    high_bits = 3 * count - 4
    high = ise.extract(words, modes.BLOCK_BITS - mode.weight_bits - high_bits, high_bits)
    return np.where(kinds & np.uint64(3), kinds | high << np.uint64(6), kinds)


def _endpoint_modes(kind: int, count: int) -> tuple[tuple[int, ...], int]:
    """The endpoint mode of every partition, and how many bits below the weights said so."""
    if count == 1:
        return (kind,), 0
    if kind & 3 == 0:
        return (kind >> 2,) * count, 0
    classes = [(kind & 3) - 1 + (kind >> (2 + place) & 1) for place in range(count)]
    low = [kind >> (2 + count + 2 * place) & 3 for place in range(count)]
    return tuple(c << 2 | bits for c, bits in zip(classes, low, strict=True)), 3 * count - 4


def _interpolate(
    words: ise.Words, group: _Group, footprint: tuple[int, int], channels: int
) -> npt.NDArray[np.int32] | None:
    """C, int32 [channels, texels, blocks]; None where these blocks' endpoints do not fit."""
    mode, count = group.mode, len(group.cems)
    values = sum(endpoints.values_of(cem) for cem in group.cems)
    start = modes.ENDPOINTS_AT if count == 1 else modes.ENDPOINTS_OF_MANY_AT
    end = modes.BLOCK_BITS - mode.weight_bits - group.spare - (2 if mode.dual else 0)
    kind = modes.endpoint_range(values, end - start) if values <= 18 else None
    if kind is None:
        return None

    stored = quantization.endpoint_values(kind)[ise.decode(words, start, values, kind)].astype(np.int32)
    colours, at = [], 0
    for cem in group.cems:
        colours.append(endpoints.decode(cem, stored[at : at + endpoints.values_of(cem)], channels))
        at += endpoints.values_of(cem)
    colour = 257 * np.stack(colours)  # [partitions, 2, channels, blocks]

    symbols = ise.decode(ise.reverse(words), 0, mode.weights, mode.weight_range)
    weights = quantization.weight_values(mode.levels)[symbols]
    planes = [_infill(weights[plane :: 1 + mode.dual], mode, footprint) for plane in range(1 + mode.dual)]
    own = ise.extract(words, end, 2) if mode.dual else None  # the channel that has the second plane
    member = None if count == 1 else partitions.pattern(ise.extract(words, 13, 10), count, footprint)
    out = np.empty((channels, *planes[0].shape), np.int32)
    for channel in range(channels):
        weight = planes[0] if own is None else np.where(own == channel, planes[1], planes[0])
        low, high = colour[:, 0, channel], colour[:, 1, channel]
        if member is not None:
            low, high = np.take_along_axis(low, member, 0), np.take_along_axis(high, member, 0)
        out[channel] = (64 * low + (high - low) * weight + 32) >> 6
    return out


def _infill(weights: ise.Symbols, mode: modes.Mode, footprint: tuple[int, int]) -> npt.NDArray[np.int32]:
    """Weights of the texels, int32 [texels, blocks], from those of the grid."""
    if (mode.width, mode.height) == footprint:
        return weights.astype(np.int32)
    factors = infill.matrix(footprint, (mode.width, mode.height))
    # In float32 the sums, below 2**11, are exact, and the product is a fast one.
    sums = factors.astype(np.float32) @ weights.astype(np.float32)
    return (sums.astype(np.int32) + 8) >> 4


def _void_extents(words: ise.Words) -> tuple[npt.NDArray[np.bool_], Texels]:
    """Which are legal, bool [blocks], and their colours, uint16 [4, blocks]."""
    left, right, top, bottom = (ise.extract(words, 12 + 13 * place, 13) for place in range(4))
    everywhere = (left & right & top & bottom) == 0x1FFF
    legal = (ise.extract(words, 9, 3) == 6) & (everywhere | ((left < right) & (top < bottom)))
    return legal, np.stack([ise.extract(words, 64 + 16 * place, 16) for place in range(4)]).astype(np.uint16)
