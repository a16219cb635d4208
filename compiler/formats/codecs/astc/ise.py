"""Bounded integer sequence encoding (ISE) for many ASTC blocks at once.

Khronos Data Format Specification, chapter "ASTC Compressed Texture Image Formats", section "Integer Sequence Encoding".

A block is 128 bits, held as two little-endian 64-bit words: an array of ``Words``, uint64 [2, blocks]. Symbols are held
one row a symbol, uint8 [symbols, blocks], so that every step is one NumPy operation over all blocks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Words = npt.NDArray[np.uint64]
Symbols = npt.NDArray[np.uint8]

_TRIT_PIECES = (2, 2, 1, 2, 1)  # how many bits of T follow each of a group's five values
_QUINT_PIECES = (3, 2, 2)  # and how many bits of Q each of its three


@dataclass(frozen=True)
class Range:
    """Values 0 to ``levels - 1``: each is ``bits`` plain bits, below one digit in ``base`` 3 or 5 (1: no digit)."""

    base: int
    bits: int

    @property
    def levels(self) -> int:
        return self.base << self.bits

    def length(self, count: int) -> int:
        """Bits that ``count`` values take."""
        digits = {1: 0, 3: -(-8 * count // 5), 5: -(-7 * count // 3)}[self.base]
        return digits + count * self.bits

    @property
    def pieces(self) -> tuple[int, ...]:
        """How many bits of the group's digit word follow each value of a group."""
        return {1: (0,), 3: _TRIT_PIECES, 5: _QUINT_PIECES}[self.base]


RANGES = tuple(
    sorted(
        (Range(base, bits) for base in (1, 3, 5) for bits in range(9) if 2 <= base << bits <= 256),
        key=lambda r: r.levels,
    )
)
BY_LEVELS = {r.levels: r for r in RANGES}


def words_of(blocks: npt.NDArray[np.uint8]) -> Words:
    """uint8 [blocks, 16] as words."""
    return np.ascontiguousarray(blocks).view("<u8").T.astype(np.uint64)


def blocks_of(words: Words) -> npt.NDArray[np.uint8]:
    """The inverse of ``words_of``."""
    return np.ascontiguousarray(words.T).astype("<u8").view(np.uint8)


def reverse(words: Words) -> Words:
    """Bit n becomes bit 127 - n: weights are stored from the top of a block downward."""
    return words_of(REVERSED_BYTE[blocks_of(words)[:, ::-1]])


def extract(words: Words, offset: int, count: int) -> npt.NDArray[np.uint64]:
    """``count`` (at most 64) bits from bit ``offset`` upward; zeros above bit 127. uint64 [blocks]."""
    word, shift = divmod(offset, 64)
    if count == 0 or word > 1:
        return np.zeros(words.shape[1], np.uint64)
    value = words[word] >> np.uint64(shift)
    if shift and word == 0 and shift + count > 64:
        value = value | (words[1] << np.uint64(64 - shift))
    bits: npt.NDArray[np.uint64] = value & np.uint64((1 << count) - 1)
    return bits


def deposit(words: Words, offset: int, value: npt.NDArray[np.uint64]) -> None:
    """Ors ``value`` into ``words`` at bit ``offset``."""
    word, shift = divmod(offset, 64)
    words[word] |= value << np.uint64(shift)
    if shift and word == 0:
        words[1] |= value >> np.uint64(64 - shift)


def decode(words: Words, offset: int, count: int, kind: Range) -> Symbols:
    """``count`` values from bit ``offset`` upward, uint8 [count, blocks]. Every bit pattern has a meaning."""
    symbols = np.empty((count, words.shape[1]), np.uint8)
    end, size = offset + kind.length(count), len(kind.pieces)
    mask = np.uint64((1 << kind.bits) - 1)
    for start in range(0, count, size):
        width = kind.bits * size + sum(kind.pieces)
        group = extract(words, offset, min(width, end - offset))  # what is cut off the last group reads as zero
        offset += width
        digits, low, at, seen = np.zeros(words.shape[1], np.uint64), [], 0, 0
        for piece in kind.pieces:
            low.append((group >> np.uint64(at)) & mask)
            at += kind.bits
            digits |= ((group >> np.uint64(at)) & np.uint64((1 << piece) - 1)) << np.uint64(seen)
            at, seen = at + piece, seen + piece
        high = _DIGITS[kind.base][:, digits.astype(np.intp)] if kind.base > 1 else np.zeros((1, 1), np.uint8)
        for index in range(min(size, count - start)):
            symbols[start + index] = low[index].astype(np.uint8) | (high[index] << np.uint8(kind.bits))
    return symbols


def encode(symbols: Symbols, kind: Range) -> Words:
    """The stream of ``symbols`` (uint8 [count, blocks], each below ``kind.levels``), from bit 0 upward."""
    count, blocks = symbols.shape
    words = np.zeros((2, blocks), np.uint64)
    mask = np.uint8((1 << kind.bits) - 1)
    offset, size = 0, len(kind.pieces)
    for start in range(0, count, size):
        part = symbols[start : start + size]
        digits = np.zeros(blocks, np.uint64)
        if kind.base > 1:
            number = np.zeros(blocks, np.intp)
            for symbol in part[::-1]:
                number = number * kind.base + (symbol >> np.uint8(kind.bits))
            digits = _DIGIT_WORDS[kind.base][number]
        group, at, seen = np.zeros(blocks, np.uint64), 0, 0
        for index, piece in enumerate(kind.pieces):
            if index < len(part):
                group |= (part[index] & mask).astype(np.uint64) << np.uint64(at)
            at += kind.bits
            group |= ((digits >> np.uint64(seen)) & np.uint64((1 << piece) - 1)) << np.uint64(at)
            at, seen = at + piece, seen + piece
        deposit(words, offset, group)
        offset += at
    return words


def digits(base: int) -> Symbols:
    """The digits in base 3 or 5 of a group by its digit word, uint8 [digits, words], first value first."""
    return _DIGITS[base]


def _bits(word: int, high: int, low: int) -> int:
    return word >> low & ((1 << (high - low + 1)) - 1)


def _trits(word: int) -> tuple[int, ...]:
    """The five base-3 digits of an 8-bit word, first value first."""
    if _bits(word, 4, 2) == 7:
        rest, t3, t4 = _bits(word, 7, 5) << 2 | _bits(word, 1, 0), 2, 2
    else:
        rest = _bits(word, 4, 0)
        t3, t4 = (_bits(word, 7, 7), 2) if _bits(word, 6, 5) == 3 else (_bits(word, 6, 5), _bits(word, 7, 7))
    if _bits(rest, 1, 0) == 3:
        t0, t1, t2 = _bits(rest, 3, 3) << 1 | (_bits(rest, 2, 2) & ~_bits(rest, 3, 3)), _bits(rest, 4, 4), 2
    elif _bits(rest, 3, 2) == 3:
        t0, t1, t2 = _bits(rest, 1, 0), 2, 2
    else:
        t0, t1, t2 = _bits(rest, 1, 1) << 1 | (rest & ~_bits(rest, 1, 1) & 1), _bits(rest, 3, 2), _bits(rest, 4, 4)
    return t0, t1, t2, t3, t4


def _quints(word: int) -> tuple[int, ...]:
    """The three base-5 digits of a 7-bit word, first value first."""
    if _bits(word, 2, 1) == 3 and _bits(word, 6, 5) == 0:
        clear = ~word & 1
        return 4, 4, (word & 1) << 2 | (_bits(word, 4, 4) & clear) << 1 | (_bits(word, 3, 3) & clear)
    if _bits(word, 2, 1) == 3:
        rest, q2 = _bits(word, 4, 3) << 3 | (~_bits(word, 6, 5) & 3) << 1 | (word & 1), 4
    else:
        rest, q2 = _bits(word, 4, 0), _bits(word, 6, 5)
    if _bits(rest, 2, 0) == 5:
        return _bits(rest, 4, 3), 4, q2
    return _bits(rest, 2, 0), _bits(rest, 4, 3), q2


def _tables() -> tuple[dict[int, Symbols], dict[int, npt.NDArray[np.uint64]]]:
    """Digits by word, uint8 [digits, words]; and the smallest word by the number that its digits write."""
    digits, words = {}, {}
    for base, unpack, count in ((3, _trits, 256), (5, _quints, 128)):
        rows = [unpack(word) for word in range(count)]
        digits[base] = np.array(rows, np.uint8).T.copy()
        inverse = np.zeros(base ** len(rows[0]), np.uint64)
        for word in reversed(range(count)):
            inverse[sum(digit * base**place for place, digit in enumerate(rows[word]))] = word
        words[base] = inverse
    return digits, words


_DIGITS, _DIGIT_WORDS = _tables()
REVERSED_BYTE = np.array([int(f"{byte:08b}"[::-1], 2) for byte in range(256)], np.uint8)
