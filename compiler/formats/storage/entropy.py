"""``entropy``: arrays are entropy-coded in the file and expanded when the artifact is loaded.

The coder is the order-0 range variant of asymmetric numeral systems (rANS; Duda, arXiv 1311.2540), written for this
project so that the runtime expands it without a library: see runtime/src/rans.cc. Measured on a million 4-bit symbols
against their order-0 entropy, Laplace and Laplace with 90 % zeros: this coder +0.3 % both; zstandard level 3 +1.3 %,
+61 %; level 19 +1.4 %, +24 %; the package constriction below +0.01 %, but a runtime without it would have to repeat its
model quantisation bit for bit.

## Bytes

All numbers are little-endian. An array of n bytes becomes one section:

    stored  0 | the n bytes
    rans    1 | bits u8 | lanes u16 | table | states u32[lanes] | words u16[...] to the end of the section
    planes  2 | stride u8 | stride times: length u32, section

``rans``. The n bytes are read as one bit stream (lowest bit of byte 0 first) of count = ceil(8n / bits) symbols of
``bits`` bits, 1 to 8; missing bits of the last symbol are zero. 1 <= lanes <= count. Symbol i is in lane i mod lanes.

The table gives the frequency f[s] of every symbol s = 0 ... 2**bits - 1, summing to 16384: below 128 as one byte,
others as 0x80 | (f & 0x7f), f >> 7. Let start[s] be the sum of the f before s.

Decoding runs over i = 0 ... count - 1; with x = states[i mod lanes]:

    slot = x & 16383;  s = the symbol with start[s] <= slot < start[s] + f[s];  emit s
    x = f[s] * (x >> 14) + slot - start[s]
    if x < 65536: x = x << 16 | next word
    states[i mod lanes] = x

States in the file are at least 65536. After the last symbol all words are used and every state is 65536 again; anything
else is damage.

``planes``. Byte j of the array belongs to plane j mod stride (2 or 4): fp16 and fp32 values, whose upper bytes are
worth coding apart. Each plane is a section of its own, ``stored`` or ``rans``.

``stored`` is taken wherever it is not longer.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tilewright.errors import ArtifactError
from tilewright.formats.base import Array
from tilewright.formats.bits import pack_bits, unpack_bits

STORED, RANS, PLANES = 0, 1, 2

_PRECISION = 14  # 12 would cost 3 % on 8-bit weights with 90 % zeros, whose other symbols are rare
_TOTAL = 1 << _PRECISION
_LOW = 1 << 16  # states lie in [2**16, 2**32)
_LANE_BITS = 8000  # of code a lane should carry: its state wastes about 24 bits, 0.3 % of that
_LANE_SYMBOLS = 1 << 15  # that a lane should hold at most: NumPy works on all lanes at a time
_MOST_LANES = 0xFFFF
_SMALL = 1 << 16  # bytes of an array

Bytes = npt.NDArray[np.uint8]
Frequencies = npt.NDArray[np.uint32]


@dataclass(frozen=True)
class Entropy:
    """rANS over packed symbols."""

    @property
    def spec(self) -> str:
        return "entropy"

    def compress(self, array: Array, symbol_bits: int) -> bytes:
        """One section.

        Args:
            array: any dtype.
            symbol_bits: 1 to 8 for a packed bit stream; 16 or 32 for elements of 2 or 4 bytes, coded plane by plane.
        """
        data = _bytes(array)
        models = _models(data, symbol_bits)
        if symbol_bits <= 8:
            return _section(data, models[0])
        stride = len(models)
        planes = [_section(np.ascontiguousarray(data[n::stride]), model) for n, model in enumerate(models)]
        parts = [bytes([PLANES, stride]), *(struct.pack("<I", len(plane)) + plane for plane in planes)]
        joined = b"".join(parts)
        return joined if len(joined) <= data.size else _stored(data)

    def compressed_bytes(self, array: Array, symbol_bits: int) -> int:
        """About how many bytes `compress` gives, without coding."""
        data = _bytes(array)
        models = _models(data, symbol_bits)
        plane_bytes = data.size // len(models)
        sections = sum(plane_bytes + 1 if model is None else model.nbytes for model in models)
        return min(sections + (2 + 4 * len(models) if symbol_bits > 8 else 0), data.size + 1)

    def expand(self, data: bytes, nbytes: int) -> Array:
        """The array's bytes as uint8 [nbytes].

        Raises:
            ArtifactError: damaged data.
        """
        try:
            if data[:1] == bytes([PLANES]):
                return _expand_planes(data, nbytes)
            return _expand(data, nbytes)
        except struct.error:
            raise _damaged("cut short") from None


def entropy_bits(symbols: npt.NDArray[np.unsignedinteger]) -> float:
    """Order-0 entropy of the symbols, bits in all."""
    counts = np.bincount(symbols.ravel())
    return _cost(counts, counts / max(1, symbols.size))


def normalised(counts: npt.NDArray[np.integer]) -> Frequencies:
    """Frequencies summing to 16384 with the least code length; every symbol that occurs gets at least 1.

    Args:
        counts: [symbols], up to 256, not all zero.
    """
    frequencies = np.where(counts > 0, np.maximum(1, np.rint(counts * (_TOTAL / counts.sum()))), 0).astype(np.int64)
    while (excess := int(frequencies.sum()) - _TOTAL) != 0:
        step = -1 if excess > 0 else 1
        with np.errstate(divide="ignore", invalid="ignore"):
            change = -counts * np.log2(np.maximum(frequencies + step, 0) / np.maximum(frequencies, 1))
        change[(counts == 0) | (frequencies + step == 0)] = np.inf
        frequencies[np.argmin(change)] += step
    return frequencies.astype(np.uint32)


def _cost(counts: npt.NDArray[np.integer], probabilities: npt.NDArray[np.floating]) -> float:
    used = counts > 0
    return float(-(counts[used] * np.log2(probabilities[used])).sum())


def _bytes(array: Array) -> Bytes:
    return np.frombuffer(array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes(), np.uint8)


def _stored(data: Bytes) -> bytes:
    return bytes([STORED]) + data.tobytes()


@dataclass(frozen=True)
class _Model:
    """Bytes as symbols of ``bits`` bits, and their statistics."""

    bits: int
    symbols: Bytes
    frequencies: Frequencies
    cost: float  # bits of code

    @classmethod
    def of(cls, data: Bytes, bits: int) -> _Model:
        count = -(-data.size * 8 // bits)
        padded = np.concatenate([data, np.zeros(1, np.uint8)]) if count * bits > data.size * 8 else data
        symbols = unpack_bits(padded, bits, count)
        counts = np.bincount(symbols, minlength=1 << bits)
        frequencies = normalised(counts)
        return cls(bits, symbols, frequencies, _cost(counts, frequencies / _TOTAL))

    @property
    def lanes(self) -> int:
        if self.frequencies.max() == _TOTAL:  # one symbol costs no bits: states never change
            return 1
        count = self.symbols.size
        return int(min(max(self.cost // _LANE_BITS, count // _LANE_SYMBOLS, 1), count, _MOST_LANES))

    @property
    def nbytes(self) -> int:
        """Of its section, within a few; lanes begin with 16 bits of nothing and end in 32 bits of state."""
        return 4 + len(_table(self.frequencies)) + 2 * self.lanes + int(self.cost / 8)

    def section(self) -> bytes:
        states, words = _encode(self.symbols, self.frequencies, self.lanes)
        head = struct.pack("<BBH", RANS, self.bits, len(states))
        return head + _table(self.frequencies) + states.tobytes() + words.tobytes()


def _models(data: Bytes, symbol_bits: int) -> list[_Model | None]:
    """The best model of each plane, or of all; None where bytes had better be stored."""
    if symbol_bits <= 8:
        return [_best(data, symbol_bits)]
    stride = symbol_bits // 8
    return [_best(np.ascontiguousarray(data[plane::stride]), *_plane_bits(data)) for plane in range(stride)]


def _plane_bits(data: Bytes) -> tuple[int, ...]:
    """Widths of symbols to try: the table of a small plane's bytes would outweigh what they save."""
    return (8, 4, 1) if data.size < _SMALL else (8,)


def _best(data: Bytes, *bits: int) -> _Model | None:
    models = [_Model.of(data, width) for width in bits if 1 << width < data.size]  # a table has a byte a symbol
    best = min(models, key=lambda model: model.nbytes, default=None)
    return best if best is not None and best.nbytes <= data.size else None


def _section(data: Bytes, model: _Model | None) -> bytes:
    coded = b"" if model is None else model.section()
    return coded if coded and len(coded) <= data.size else _stored(data)


def _table(frequencies: Frequencies) -> bytes:
    return b"".join(bytes([f]) if f < 128 else bytes([0x80 | f & 0x7F, f >> 7]) for f in frequencies.tolist())


def _encode(
    symbols: Bytes, frequencies: Frequencies, lanes: int
) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint16]]:
    """Runs backwards, all lanes at a time: final states, and words in the order in which the decoder reads them."""
    starts = (np.cumsum(frequencies) - frequencies).astype(np.uint32)
    states = np.full(lanes, _LOW, np.uint32)
    if frequencies.max() == _TOTAL:
        return states.astype("<u4"), np.zeros(0, "<u2")
    if lanes == 1:
        return _encode_lane(symbols.tolist(), frequencies.tolist(), starts.tolist())
    words: list[npt.NDArray[np.uint16]] = []
    for first in range((symbols.size - 1) // lanes * lanes, -1, -lanes):
        step = symbols[first : first + lanes]
        active = states[: step.size]
        f = frequencies[step]
        spill = np.flatnonzero(active >> np.uint32(32 - _PRECISION) >= f)
        if spill.size:
            full = active[spill]
            words.append(full.astype(np.uint16))  # the lower half
            active[spill] = full >> np.uint32(16)
        quotient = active // f
        states[: step.size] = (quotient << np.uint32(_PRECISION)) + (active - quotient * f) + starts[step]
    ordered = np.concatenate([np.zeros(0, np.uint16), *words[::-1]])
    return states.astype("<u4"), ordered.astype("<u2")


def _encode_lane(
    symbols: list[int], frequencies: list[int], starts: list[int]
) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint16]]:
    """As `_encode`: Python's own integers are faster than arrays of one."""
    state, words = _LOW, []
    for symbol in reversed(symbols):
        f = frequencies[symbol]
        if state >> (32 - _PRECISION) >= f:
            words.append(state & 0xFFFF)
            state >>= 16
        quotient, rest = divmod(state, f)
        state = (quotient << _PRECISION) + rest + starts[symbol]
    return np.array([state], "<u4"), np.array(words[::-1], "<u2")


def _expand_planes(data: bytes, nbytes: int) -> Bytes:
    (stride,) = struct.unpack_from("<B", data, 1)
    if stride not in (2, 4) or nbytes % stride:
        raise _damaged(f"{stride} planes of {nbytes} bytes")
    out = np.empty(nbytes, np.uint8)
    position = 2
    for plane in range(stride):
        (length,) = struct.unpack_from("<I", data, position)
        position += 4
        if length > len(data) - position:
            raise _damaged("cut short")
        out[plane::stride] = _expand(data[position : position + length], nbytes // stride)
        position += length
    if position != len(data):
        raise _damaged(f"{len(data) - position} bytes too many")
    return out


def _expand(data: bytes, nbytes: int) -> Bytes:
    """A ``stored`` or ``rans`` section."""
    (mode,) = struct.unpack_from("<B", data)
    if mode == STORED:
        if len(data) - 1 != nbytes:
            raise _damaged(f"{len(data) - 1} stored bytes where {nbytes} belong")
        return np.frombuffer(data, np.uint8, offset=1).copy()
    if mode != RANS:
        raise _damaged(f"section of kind {mode}")
    _, bits, lanes = struct.unpack_from("<BBH", data)
    if not 1 <= bits <= 8:
        raise _damaged(f"symbols of {bits} bits")
    count = -(-nbytes * 8 // bits)
    if not 1 <= lanes <= count:
        raise _damaged(f"{lanes} lanes for {count} symbols")
    frequencies, position = _read_table(data, 1 << bits)
    if len(data) - position < 4 * lanes or (len(data) - position) % 2:
        raise _damaged("cut short")
    states = np.frombuffer(data, "<u4", lanes, position).astype(np.uint32)
    words = np.frombuffer(data, "<u2", offset=position + 4 * lanes).astype(np.uint32)
    symbols = _decode(states, words, frequencies, count)
    packed = pack_bits(symbols, bits)
    if packed[nbytes:].any():
        raise _damaged("bits beyond the end")
    return packed[:nbytes]


def _read_table(data: bytes, symbols: int) -> tuple[Frequencies, int]:
    """The frequencies and where they end."""
    frequencies = np.zeros(symbols, np.uint32)
    position = 4
    for symbol in range(symbols):
        (value,) = struct.unpack_from("<B", data, position)
        position += 1
        if value & 0x80:
            (upper,) = struct.unpack_from("<B", data, position)
            position += 1
            value = value & 0x7F | upper << 7
        frequencies[symbol] = value
    if int(frequencies.sum()) != _TOTAL:
        raise _damaged(f"frequencies that sum to {int(frequencies.sum())}")
    return frequencies, position


def _decode(
    states: npt.NDArray[np.uint32], words: npt.NDArray[np.uint32], frequencies: Frequencies, count: int
) -> Bytes:
    """Runs forwards, all lanes at a time."""
    if (states < _LOW).any():
        raise _damaged("state out of range")
    lanes = len(states)
    if lanes == 1:
        return _decode_lane(int(states[0]), words.tolist(), frequencies, count)
    owner = np.repeat(np.arange(len(frequencies), dtype=np.uint8), frequencies)  # symbol of each slot
    scale = frequencies[owner]
    bias = np.arange(_TOTAL, dtype=np.uint32) - (np.cumsum(frequencies) - frequencies).astype(np.uint32)[owner]
    symbols = np.full(count, owner[0], np.uint8)
    used = 0
    for first in range(0, count if len(np.unique(owner)) > 1 else 0, lanes):
        active = states[: min(lanes, count - first)]
        slot = active & np.uint32(_TOTAL - 1)
        symbols[first : first + active.size] = owner[slot]
        following = scale[slot] * (active >> np.uint32(_PRECISION)) + bias[slot]
        short = np.flatnonzero(following < _LOW)
        if short.size:
            fresh = words[used : used + short.size]
            if fresh.size < short.size:
                raise _damaged("cut short")
            following[short] = following[short] << np.uint32(16) | fresh
            used += short.size
        states[: active.size] = following
    if used != len(words) or (states != _LOW).any():
        raise _damaged("the stream does not end where it should")
    return symbols


def _decode_lane(state: int, words: list[int], frequencies: Frequencies, count: int) -> Bytes:
    """As `_decode`: Python's own integers are faster than arrays of one."""
    owner = np.repeat(np.arange(len(frequencies), dtype=np.uint8), frequencies).tobytes()  # symbol of each slot
    scale, starts = frequencies.tolist(), (np.cumsum(frequencies) - frequencies).tolist()
    symbols = bytearray(owner[:1] * count)
    used = 0
    for place in range(count if _TOTAL not in scale else 0):
        slot = state & (_TOTAL - 1)
        symbols[place] = symbol = owner[slot]
        state = scale[symbol] * (state >> _PRECISION) + slot - starts[symbol]
        if state < _LOW:
            if used == len(words):
                raise _damaged("cut short")
            state = state << 16 | words[used]
            used += 1
    if used != len(words) or state != _LOW:
        raise _damaged("the stream does not end where it should")
    return np.frombuffer(bytes(symbols), np.uint8)


def _damaged(what: str) -> ArtifactError:
    return ArtifactError(f"damaged entropy-coded weights: {what}")
