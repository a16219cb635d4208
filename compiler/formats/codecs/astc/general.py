"""The element decoder of blocks of any encoder, each of which has a mode of its own: red, as ``decode`` reads it.

Khronos Data Format Specification, chapter "ASTC Compressed Texture Image Formats". What ``decode`` does with groups of
blocks that agree, this does with tables by what they differ in. In stages, each for all blocks, so that nothing is
computed for a texel that holds for its block:

    windows   sixteen bits from every byte of a block, and of its bits in reverse order: streams of symbols run upward
    facts     what the header says
    words     the digits that symbols of weights and of endpoints share
    values    weights and endpoint values that the symbols stand for
    colours   both endpoints of every partition; equal ones, of the error colour for an illegal block, of a void extent
    texels    C, as in ``decode``
"""

from __future__ import annotations

from typing import Any

from tilewright.formats.codecs.astc import endpoints, infill, ise, modes, partitions
from tilewright.formats.codecs.astc import general_tables as tables
from tilewright.formats.element import Element, Extents, Loads, Ops, Value, ceildiv, equal

_REVERSED = modes.BLOCK_BITS  # the first bit of those in reverse order
_WINDOWS = modes.BLOCK_BYTES + modes.MOST_WEIGHT_BITS // 8
_WEIGHT_WORDS, _ENDPOINT_WORDS = 14, 6  # of weights of 96 bits in base 5, of 18 values in base 5
_RED_VALUES = 6  # of an endpoint mode, at most: the others are alpha's
RED_MODES = {0: 0, 4: 0, 1: 1, 5: 5, 6: 6, 10: 6, 8: 8, 12: 8, 9: 9, 13: 9}  # endpoint modes: which have the same red

# The columns of ``facts``.
_CEM, _ENDPOINT_KIND, _ENDPOINT_COUNT, _PLANE = 0, 4, 5, 6
_WEIGHT_KIND, _WEIGHT_COUNT, _WIDTH, _HEIGHT, _PLANES = 7, 8, 9, 10, 11


def decoder(ops: Ops, loads: Loads, shape: Extents, footprint: tuple[int, int], zero: int) -> Element:
    """The weight at (row, column): ``float32(C - zero) * scales[row]``; illegal blocks have the error colour.

    Args:
        loads: "blocks" and "scales".
        shape: of the payload.
        zero: C that stands for a weight of zero.
    """
    width, height = footprint
    across = ceildiv(shape[1], width)
    texels = _Stages(ops, loads["blocks"], ceildiv(shape[0], height) * across, footprint).texels()

    def element(row: Value, column: Value) -> Value:
        block = row // height * across + column // width
        texel = row % height * width + column % width
        return (texels[block, texel] - zero).astype("float32") * loads["scales"][row]

    return element


class _Stages:
    def __init__(self, ops: Ops, stored: Any, blocks: Value, footprint: tuple[int, int]) -> None:
        """
        Args:
            stored: the bytes of all blocks.
            blocks: how many.
        """
        self.ops, self.stored, self.blocks, self.footprint = ops, stored, blocks, footprint
        self.most = min(modes.MOST_WEIGHTS, 2 * footprint[0] * footprint[1])  # weights, which endpoints follow
        self.power = ops.table([1 << bits for bits in range(9)])
        self.windows = self._windows()
        self.facts = self._facts()
        self.bits = ops.table([kind.bits for kind in tables.KINDS])
        self.base = ops.table([tables.BASES.index(kind.base) for kind in tables.KINDS])
        self.before = ops.table(tables.places()[2])
        self.words = self._words()
        self.values = self._values()
        self.colours = self._colours()

    def texels(self) -> Any:
        """C, [blocks, texels in raster order]."""
        ops, facts = self.ops, self.facts
        width, height = self.footprint
        along, down = ops.table(tables.axis(width)), ops.table(tables.axis(height))

        def element(block: Value, texel: Value) -> Value:
            member = ops.share(self._member(block, texel % width, texel // width) * 2)
            low, high = ops.share(self.colours[block, member]), self.colours[block, member + 1]
            grid, planes = ops.share(facts[block, _WIDTH]), ops.share(facts[block, _PLANES])
            x = ops.share(along[grid * width + texel % width])
            y = ops.share(down[facts[block, _HEIGHT] * height + texel // width])
            right, below = ops.share(x % 16), ops.share(y % 16)
            point = ops.share(y // 16 * grid + x // 16)
            weight: Value = 8
            for corner, factor in enumerate(infill.corner_factors(right, below)):
                # Neighbours outside the grid have factor 0; the point itself stands in for them.
                place = point + ops.where(right < 1, 0, 1) if corner % 2 else point
                place = place + ops.where(below < 1, 0, grid) if corner > 1 else place
                weight = self.values[block, place * planes + facts[block, _PLANE]] * factor + weight
            return (low * 64 + (high - low) * (weight // 16) + 32) // 64

        return ops.compute((self.blocks, width * height), element, "uint16")

    def _member(self, block: Value, x: Value, y: Value) -> Value:
        """The partition of a texel: the first whose plane is highest there."""
        ops, zoom = self.ops, partitions.zoom(self.footprint)
        planes = ops.table(tables.planes())
        others, seed = ops.share(self._read(block, 11, 2)), self._read(block, 13, 10)
        first = ops.share(ops.where(others < 1, 0, (others - 1) * tables.SEEDS + seed) * 4)

        def level(partition: int) -> Value:
            packed = ops.share(planes[first + partition])
            at = packed % 16 * (x * zoom) + packed // 16 % 16 * (y * zoom) + packed // 256
            return ops.share(ops.where(others < partition, 0, at % 64))

        highest, member = level(0), 0
        for partition in range(1, 4):
            other = level(partition)
            above = highest < other
            member = ops.where(above, partition, member)
            highest = ops.share(ops.where(above, other, highest))
        return member

    def _windows(self) -> Any:
        mirrored, last = self.ops.table(ise.REVERSED_BYTE), 2 * modes.BLOCK_BYTES - 1

        def byte(block: Value, place: Value) -> Value:
            reverse = last - modes.BLOCK_BYTES < place
            at = self.ops.where(reverse, last - place, place)
            value = self.ops.share(self.stored[block * modes.BLOCK_BYTES + at])
            return self.ops.where(reverse, self.ops.share(mirrored[value]), value)

        def element(block: Value, place: Value) -> Value:
            return byte(block, place + 1) * 256 + byte(block, place)

        return self.ops.compute((self.blocks, _WINDOWS), element, "uint16")

    def _read(self, block: Value, at: Value, bits: Value) -> Value:
        """``bits`` bits from bit ``at`` upward: 9, or more where they end in the same window."""
        at = self.ops.share(at)
        value = self.ops.share(self.ops.shift_right(self.windows[block, at // 8], at % 8))
        if isinstance(bits, int):
            return value % 2**bits
        return value - self.ops.shift_right(value, bits) * self.power[bits]

    def _facts(self) -> Any:
        ops = self.ops
        packed_modes, more = ops.table(tables.block_modes(self.footprint)), ops.table([0, 2, 5, 8])
        fitting = ops.table(tables.fitting())

        def element(block: Value, column: Value) -> Value:
            mode, others = map(ops.share, (packed_modes[self._read(block, 0, 11)], self._read(block, 11, 2)))
            grid_width, grid_height, kind = mode % 16, mode // 16 % 16, mode // 256 % 16
            dual, top = mode // 4096 % 2, modes.BLOCK_BITS - mode // 8192
            said = ops.share(self._read(block, 23, 6))
            alike = said % 4 < 1
            spare = ops.share(ops.where(alike, 0, ops.share(more[others])))
            kinds = ops.share(self._read(block, top - spare, spare) * 64 + said)

            only = ops.share(self._read(block, 13, 4))

            def cem(partition: int) -> Value:
                high = said % 4 - 1 + ops.shift_right(kinds, 2 + partition) % 2
                low = ops.shift_right(kinds, others + (3 + 2 * partition)) % 4
                own = ops.where(alike, said // 4, high * 4 + low)
                return ops.where(others < partition, 0, own) if partition else ops.where(others < 1, only, own)

            cems = [ops.share(cem(partition)) for partition in range(4)]
            counts = [cems[0] // 4 * 2 + 2]
            counts += [ops.where(others < place, 0, cems[place] // 4 * 2 + 2) for place in range(1, 4)]
            count = ops.share(counts[0] + counts[1] + counts[2] + counts[3])
            end = top - spare - 2 * dual
            room = ops.share(end - self._endpoints_at(others))
            room = ops.where(room < 0, 0, ops.where(mode < 1, 0, ops.where(others * dual < 3, room, 0)))
            endpoint_kind = ops.share(fitting[count // 2 * modes.BLOCK_BITS + room])
            second = ops.share(self._read(block, end, 2))  # the channel whose weights are those of the second plane
            plane = dual * ops.where(second < 1, 1, 0)
            weights = grid_width * grid_height * (dual + 1)
            facts = [*cems, endpoint_kind, count, plane, kind, weights, grid_width, grid_height, dual + 1]
            return _choose(ops, column, facts)

        return ops.compute((self.blocks, 12), element, "uint8")

    def _stream(self, block: Value, of_weights: Value) -> tuple[Value, Value, Value]:
        """Kind, count and first bit of the symbols of weights or of endpoints."""
        ops, facts = self.ops, self.facts
        kind = facts[block, ops.where(of_weights, _WEIGHT_KIND, _ENDPOINT_KIND)]
        count = facts[block, ops.where(of_weights, _WEIGHT_COUNT, _ENDPOINT_COUNT)]
        start = ops.where(of_weights, _REVERSED, self._endpoints_at(ops.share(self._read(block, 11, 2))))
        return ops.share(kind), ops.share(count), ops.share(start)

    def _endpoints_at(self, others: Value) -> Value:
        return self.ops.where(others < 1, modes.ENDPOINTS_AT, modes.ENDPOINTS_OF_MANY_AT)

    def _words(self) -> Any:
        ops = self.ops
        size, lengths, powers = map(ops.table, tables.pieces())

        def element(block: Value, column: Value) -> Value:
            of_weights = column < _WEIGHT_WORDS
            kind, count, start = self._stream(block, of_weights)
            base, bits = ops.share(self.base[kind]), ops.share(self.bits[kind])
            group = ops.share(ops.where(of_weights, column, column - _WEIGHT_WORDS) * size[base])
            word: Value = 0
            for n in range(tables.PIECES):
                symbol = group + n
                known = ops.share(ops.where(symbol < count, symbol, 0))
                at = start + (known + 1) * bits + self.before[base * modes.MOST_WEIGHTS + known]
                length = ops.share(lengths[base * tables.PIECES + n])
                piece = ops.share(self._read(block, at, length) * powers[base * tables.PIECES + n])
                word = ops.where(symbol < count, piece, 0) + word
            return word

        def needed(block: Value, column: Value) -> Value:
            of_weights = column < _WEIGHT_WORDS
            kind, count, _ = self._stream(block, of_weights)
            base = ops.share(self.base[kind])
            first = ops.where(of_weights, column, column - _WEIGHT_WORDS) * ops.share(size[base])
            return first < ops.where(base < 1, 0, count)

        return ops.compute((self.blocks, _WEIGHT_WORDS + _ENDPOINT_WORDS), element, "uint8", needed)

    def _values(self) -> Any:
        ops, facts, most = self.ops, self.facts, self.most
        group, member, _ = map(ops.table, tables.places())
        size, first_digit, digit = map(ops.table, tables.digits())
        first_value, value = map(ops.table, tables.values())

        def element(block: Value, column: Value) -> Value:
            of_weights = column < most
            kind, count, start = self._stream(block, of_weights)
            base, bits = ops.share(self.base[kind]), ops.share(self.bits[kind])
            number = ops.where(of_weights, column, column - most)
            number = ops.share(ops.where(number < count, number, 0))
            place = ops.share(base * modes.MOST_WEIGHTS + number)
            low = self._read(block, start + number * bits + self.before[place], bits)
            word = self.words[block, group[place] + ops.where(of_weights, 0, _WEIGHT_WORDS)]
            high = digit[first_digit[base] + word * size[base] + member[place]]
            return value[first_value[kind] + low + high * self.power[bits]]

        def needed(block: Value, column: Value) -> Value:
            of_weights = column < most
            count = ops.share(facts[block, ops.where(of_weights, _WEIGHT_COUNT, _ENDPOINT_COUNT)])
            return ops.where(of_weights, column, column - most) < count

        return ops.compute((self.blocks, most + tables.MOST_VALUES + _RED_VALUES), element, "uint8", needed)

    def _colours(self) -> Any:
        ops, facts = self.ops, self.facts
        of_mode = sorted(set(RED_MODES.values()))
        known = [of_mode.index(RED_MODES[mode]) if mode in RED_MODES else len(of_mode) for mode in range(16)]
        which = ops.table(known)

        def element(block: Value, column: Value) -> Value:
            partition = column // 2
            at: Value = self.most
            for earlier in range(3):
                values = ops.share(facts[block, _CEM + earlier]) // 4 * 2 + 2
                at = ops.where(earlier < partition, values, 0) + at
            fits = ops.share(facts[block, _ENDPOINT_KIND]) < tables.UNFIT
            first = ops.share(ops.where(fits, at, 0))
            v = [ops.share(self.values[block, first + n]) for n in range(_RED_VALUES)]
            pairs = [endpoints.channel(ops, mode, v[: endpoints.values_of(mode)], 0) for mode in of_mode]
            ends = [ops.share(ops.where(column % 2 < 1, *pair)) for pair in pairs]
            number = ops.share(which[facts[block, _CEM + partition]])
            colour = _choose(ops, number, [*ends, endpoints.ERROR_COLOUR[0]]) * 257
            constant = ops.share(self.windows[block, 8])
            void = ops.where(ops.share(self._void(block)) < 1, endpoints.ERROR_COLOUR[0] * 257, constant)
            return ops.where(fits, colour, void)

        return ops.compute((self.blocks, 8), element, "uint16")

    def _void(self, block: Value) -> Value:
        """1 for a legal void extent, else 0."""
        ops = self.ops

        def edge(at: int) -> Value:
            byte = at // 8
            wide = self.windows[block, byte + 2] % 256 * 65536 + self.windows[block, byte]
            return ops.shift_right(wide, at % 8) % 8192

        left, right, top, bottom = (ops.share(edge(12 + 13 * place)) for place in range(4))
        inside = ops.where(left < right, 1, 0) * ops.where(top < bottom, 1, 0)
        everywhere = equal(ops, left + right + top + bottom, 4 * 8191)
        low, flags = (ops.share(self._read(block, at, bits)) for at, bits in ((0, 9), (9, 3)))
        sound = equal(ops, low, modes.VOID) * equal(ops, flags, 6)
        return sound * ops.where(inside + everywhere < 1, 0, 1)


def _choose(ops: Ops, number: Value, options: list[Value]) -> Value:
    """The option of a number."""
    chosen = options[-1]
    for place in reversed(range(len(options) - 1)):
        chosen = ops.where(number < place + 1, options[place], chosen)
    return chosen
