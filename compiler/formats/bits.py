"""Bit packing shared by all codecs: one little-endian bit stream without gaps.

Symbol i of width B occupies bits [i*B, (i+1)*B) of the stream, lowest bit first; bit j of the stream is bit j % 8 of
byte j // 8. Unused bits of the last byte are zero. So eight symbols fill B bytes and 32 symbols fill B little-endian
32-bit words; 4-bit symbols lie as in ONNX's INT4 (low nibble first) and 8-bit symbols are plain bytes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]
Symbols = npt.NDArray[np.unsignedinteger]

_CHUNK = 1 << 20  # elements whose bits are spread out at a time


def packed_nbytes(count: int, bits: int) -> int:
    """Bytes of ``count`` symbols of ``bits`` bits."""
    return (count * bits + 7) // 8


def pack_bits(symbols: Symbols, bits: int) -> Bytes:
    """Packs symbols below 2**bits, of any shape in C order. ``bits`` is 1 to 8."""
    flat = symbols.ravel()
    if bits == 8:
        return flat.astype(np.uint8)
    whole = flat.size // 8 * 8
    octets = flat[:whole].reshape(-1, 8)
    words = np.zeros(len(octets) + (whole < flat.size), "<u8")
    for place in range(8):
        words[: len(octets)] |= octets[:, place].astype("<u8") << np.uint64(place * bits)
    for place, symbol in enumerate(flat[whole:]):
        words[-1] |= np.uint64(int(symbol) << place * bits)
    return words.view(np.uint8).reshape(-1, 8)[:, :bits].ravel()[: packed_nbytes(flat.size, bits)]


def unpack_bits(data: Bytes, bits: int, count: int) -> Bytes:
    """The first ``count`` symbols, as uint8 [count]. ``bits`` is 1 to 8.

    Raises:
        ValueError: ``data`` is shorter than they are.
    """
    if data.size < packed_nbytes(count, bits):
        raise ValueError(f"{data.size} bytes do not hold {count} symbols of {bits} bits")
    if bits == 8:
        return data[:count].copy()
    octets = (count + 7) // 8
    stream = np.zeros(octets * bits, np.uint8)
    used = min(stream.size, data.size)
    stream[:used] = data[:used]
    words = np.zeros((octets, 8), np.uint8)
    words[:, :bits] = stream.reshape(octets, bits)
    wide = words.view("<u8")[:, 0]
    symbols = np.empty((octets, 8), np.uint8)
    mask = np.uint64((1 << bits) - 1)
    for place in range(8):
        symbols[:, place] = (wide >> np.uint64(place * bits)) & mask
    return symbols.ravel()[:count]


def signed(symbols: Symbols, bits: int) -> npt.NDArray[np.int16]:
    """Reads symbols of 1 to 16 bits as two's complement."""
    half = 1 << (bits - 1)
    return ((symbols.astype(np.int32) ^ half) - half).astype(np.int16)


def pack_rows(symbols: npt.NDArray[np.uint16], depths: Sequence[int]) -> Bytes:
    """Packs row r of uint16 [rows, columns] at its own depth of 0 to 16 bits; rows follow each other without a gap."""
    rows, columns = symbols.shape
    if not symbols.size:
        return np.zeros(0, np.uint8)
    step = max(1, _CHUNK // columns)
    carry = np.zeros(0, np.uint8)
    parts = []
    for first in range(0, rows, step):
        block = np.ascontiguousarray(symbols[first : first + step], "<u2")
        spread = np.unpackbits(block.view(np.uint8), bitorder="little").reshape(*block.shape, 16)
        chosen = [row[:, :depth].ravel() for row, depth in zip(spread, depths[first : first + step], strict=True)]
        stream = np.concatenate([carry, *chosen])
        whole = stream.size // 8 * 8
        parts.append(np.packbits(stream[:whole], bitorder="little"))
        carry = stream[whole:]
    return np.concatenate([*parts, np.packbits(carry, bitorder="little")])


def unpack_rows(data: Bytes, depths: Sequence[int], columns: int) -> npt.NDArray[np.uint16]:
    """The inverse of ``pack_rows``: uint16 [len(depths), columns].

    Raises:
        ValueError: ``data`` is shorter than the rows are.
    """
    if data.size < packed_nbytes(sum(depths) * columns, 1):
        raise ValueError(f"{data.size} bytes do not hold {len(depths)} rows of {columns} symbols")
    symbols = np.empty((len(depths), columns), np.uint16)
    # The three bytes from each byte on hold any symbol that starts in it: 7 + 16 bits.
    windows = np.concatenate([data, np.zeros(3, np.uint8)]).astype(np.uint32)
    windows = windows[:-2] | windows[1:-1] << np.uint32(8) | windows[2:] << np.uint32(16)
    place = np.arange(columns)
    start = 0
    for row, depth in zip(symbols, depths, strict=True):
        at = start + depth * place
        row[:] = windows[at >> 3] >> (at & 7).astype(np.uint32) & np.uint32((1 << depth) - 1)
        start += depth * columns
    return symbols
