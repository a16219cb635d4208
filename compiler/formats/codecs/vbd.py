"""``vbd(bits)``: variable bit depth, as in self-compressing networks (arXiv 2301.13142) and Imagination's patents.

    w = 2**E * clip(round(x * 2**-E), -2**(B-1), 2**(B-1) - 1)        depth B = 0 to 16, 0 removes the channel

    vbd(4)              depth and exponent of every channel (row), 4 bits a weight on average at most
    vbd(4,per=tensor)   one depth, 4, and one exponent

    values      uint8, a bit stream (see bits.py): row by row, two's complement symbols of that row's depth, no padding;
                one byte where all depths are 0
    depths      uint8 [rows] or [1]
    exponents   int8 [rows] or [1]

The average counts the values alone; depths and exponents add 16 bits a channel. Depths are allocated for the least
squared error: each channel's error is measured at every depth, and bits go where they reduce it most.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from tilewright.errors import ArtifactError, DataError
from tilewright.formats.base import Encoded, Matrix
from tilewright.formats.bits import pack_rows, packed_nbytes, unpack_rows
from tilewright.formats.checks import checked
from tilewright.formats.element import Element, Extents, Loads, Ops, Value

MOST = 16  # bits
_SHIFTS = 5  # exponents tried below the one that avoids clipping
_SAMPLE = 1024  # columns from which a channel's error at each depth is estimated
_CHUNK = 1 << 17

Ints = npt.NDArray[np.int32]
Table = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Vbd:
    """Variable bit depth.

    Attributes:
        bits: average depth, in (0, 16]; an integer for ``per="tensor"``.
        per: "channel" or "tensor".
    """

    bits: float
    per: Literal["channel", "tensor"] = "channel"

    def __post_init__(self) -> None:
        if not 0 < self.bits <= MOST:
            raise ValueError(f"bits is {self.bits:g}; the average depth lies in (0, {MOST}]")
        if self.per == "tensor" and self.bits != int(self.bits):
            raise ValueError(f"bits is {self.bits:g}; one depth for the tensor is a whole number")

    @property
    def spec(self) -> str:
        return f"vbd({self.bits:g}{',per=tensor' if self.per == 'tensor' else ''})"

    @property
    def symbol_bits(self) -> Mapping[str, int]:
        # The stream's symbols vary in width: entropy coding sees bytes, unless there is one depth.
        single = self.per == "tensor" and self.bits <= 8
        return {"values": int(self.bits) if single else 8, "depths": 8, "exponents": 8}

    def packed_bytes(self, shape: tuple[int, int]) -> int:
        if self.per == "channel":
            raise ValueError(f"the size of {self.spec} depends on the weights")
        return packed_nbytes(shape[0] * shape[1], int(self.bits)) + 2

    def encode(self, payload: Matrix) -> Encoded:
        """Chooses depths and exponents and quantises.

        Raises:
            DataError: NaN or infinity; a budget so small that every channel would be removed.
        """
        matrix = checked(payload)
        channels = self._channels(matrix)
        if self.per == "tensor":
            depths = np.full(1, int(self.bits), np.int32)
        else:
            stride = -(-channels.shape[1] // _SAMPLE)
            depths = _allocate(_errors(channels[:, ::stride]), self.bits)
        if not depths.any() and channels.any():
            raise DataError(f"{self.spec}: depth 0 for every channel; allow more bits")
        return self.encode_with(matrix, depths)

    def encode_with(self, payload: Matrix, depths: npt.ArrayLike, exponents: npt.ArrayLike | None = None) -> Encoded:
        """Quantises at given depths, for example learned ones.

        Args:
            payload: float32 [rows, columns].
            depths: integers [rows] (or [1] for ``per="tensor"``) of 0 to 16.
            exponents: integers of the same shape, of -128 to 127; None for those with the least squared error.

        Raises:
            DataError: NaN or infinity; depth 0 for every channel of weights that are not all zero; values out of range.
        """
        matrix = checked(payload)
        channels = self._channels(matrix)
        depth = np.asarray(depths, np.int32)
        if depth.shape != (len(channels),) or depth.min() < 0 or depth.max() > MOST:
            raise DataError(f"{self.spec}: depths are {len(channels)} integers from 0 to {MOST}")
        if not depth.any() and channels.any():
            raise DataError(f"{self.spec}: depth 0 for every channel")
        exponent = _best_exponents(channels, depth) if exponents is None else np.asarray(exponents, np.int32)
        if exponent.shape != depth.shape or exponent.min() < -128 or exponent.max() > 127:
            raise DataError(f"{self.spec}: exponents are {len(channels)} integers from -128 to 127")
        symbols = np.empty(channels.shape, np.uint16)
        step = max(1, _CHUNK // channels.shape[1])
        for first in range(0, len(channels), step):
            part = slice(first, first + step)
            q = _integers(channels[part], depth[part], exponent[part])
            symbols[part] = q.astype(np.int32).astype(np.uint16)  # two's complement; packing drops the upper bits
        rows = matrix.shape[0]
        stream = pack_rows(symbols.reshape(matrix.shape), np.broadcast_to(depth, rows).tolist())
        arrays = {
            "values": stream if stream.size else np.zeros(1, np.uint8),  # no kernel can be given nothing
            "depths": depth.astype(np.uint8),
            "exponents": exponent.astype(np.int8),
        }
        return Encoded(arrays, (rows, matrix.shape[1]))

    def integers(self, encoded: Encoded) -> tuple[npt.NDArray[np.int16], Ints, Ints]:
        """What kernels compute with: q as int16 [rows, columns], and depths and exponents as int32 [rows].

        Raises:
            ArtifactError: arrays that do not fit the shape, or depths above 16.
        """
        rows, columns = encoded.shape
        expected = (rows if self.per == "channel" else 1,)
        depths, exponents = encoded.arrays["depths"], encoded.arrays["exponents"]
        if depths.shape != expected or exponents.shape != expected or int(depths.max()) > MOST:
            raise ArtifactError(f"{self.spec}: depths or exponents that do not fit weights {rows} x {columns}")
        depth = np.broadcast_to(depths.astype(np.int32), rows)
        try:
            symbols = unpack_rows(encoded.arrays["values"], depth.tolist(), columns)
        except ValueError as error:
            raise ArtifactError(f"{self.spec}: {error}") from None
        half = (1 << depth.astype(np.int64)) >> 1
        q = (symbols.astype(np.int32) ^ half[:, None].astype(np.int32)) - half[:, None].astype(np.int32)
        return q.astype(np.int16), depth, np.broadcast_to(exponents.astype(np.int32), rows)

    def decode(self, encoded: Encoded) -> Matrix:
        """2**E * q; exact in float32 unless subnormal."""
        q, _, exponents = self.integers(encoded)
        return np.ldexp(q.astype(np.float32), exponents[:, None])

    def decoder(self, ops: Ops, loads: Loads, shape: Extents) -> Element:
        rows, columns = shape
        single = self.per == "tensor"
        powers = ops.table(2 ** np.arange(MOST + 1, dtype=np.int32))
        scales = ops.table(np.ldexp(np.float32(1), np.arange(-128, 128)).astype(np.float32))
        starts = None if single else ops.exclusive_sum(loads["depths"], rows)
        stream = loads["values"]

        def element(row: Value, column: Value) -> Value:
            channel = row * 0 if single else row
            depth = loads["depths"][channel]
            # A row starts at bit columns * starts[row]; by whole bytes and bits, lest the product overflow.
            first = row * columns * depth if starts is None else starts[row] * columns
            bit = first % 8 + column * depth
            byte, shift = first // 8 + bit // 8, bit % 8
            word = stream[ops.where(depth > 0, byte, 0)]
            for step in (1, 2):  # a symbol of 16 bits may touch three bytes
                reaches = 8 * step < shift + depth
                word = word + ops.where(reaches, stream[ops.where(reaches, byte + step, 0)], 0) * 256**step
            q = ops.shift_right(word, shift) % powers[depth]
            q = q - ops.where(q < powers[depth] // 2 + ops.where(depth > 0, 0, 1), 0, powers[depth])
            return q.astype("float32") * scales[loads["exponents"][channel] + 128]

        return element

    def _channels(self, matrix: Matrix) -> Matrix:
        return matrix if self.per == "channel" else matrix.reshape(1, -1)


def _integers(x: Matrix, depths: Ints, exponents: Ints) -> Matrix:
    """round(x * 2**-E), clipped to each row's depth; float32 of the shape of ``x``."""
    half = np.where(depths > 0, np.exp2(depths - 1.0), 0)[:, None].astype(np.float32)
    with np.errstate(over="ignore"):  # infinity is clipped as well
        q = np.ldexp(x, -exponents[:, None])
    np.rint(q, out=q)
    np.maximum(q, -half, out=q)
    return np.minimum(q, np.maximum(half - 1, 0), out=q)


def _leading(x: Matrix) -> Ints:
    """The least e of each row with all magnitudes below 2**e."""
    exponents: Ints = np.frexp(np.maximum(x.max(axis=1), -x.min(axis=1)))[1].astype(np.int32)
    return exponents


def _exponents(leading: Ints, depths: Ints, shift: int) -> Ints:
    """``shift`` below the exponent that avoids clipping, within what int8 and float32 hold."""
    exponents: Ints = np.clip(leading - (depths - 1) - shift, -128, np.minimum(127, 128 - depths)).astype(np.int32)
    return exponents


def _best_exponents(x: Matrix, depths: Ints) -> Ints:
    """The exponents with the least squared error at these depths."""
    best = np.zeros(len(x), np.int32)
    step = max(1, _CHUNK // x.shape[1])
    for first in range(0, len(x), step):
        part = slice(first, first + step)
        leading = _leading(x[part])
        errors, tried = [], [_exponents(leading, depths[part], shift) for shift in range(_SHIFTS)]
        for exponents in tried:
            q = _integers(x[part], depths[part], exponents)
            difference = np.ldexp(q, (exponents - leading)[:, None])
            difference -= np.ldexp(x[part], -leading[:, None])
            errors.append(np.einsum("rc,rc->r", difference, difference))
        best[part] = np.choose(np.argmin(errors, axis=0), tried)
    return np.where(depths > 0, best, 0).astype(np.int32)


def _errors(x: Matrix) -> Table:
    """Mean squared error of each row at each depth, float64 [rows, 17]."""
    table = np.full((len(x), MOST + 1), np.inf)
    step = max(1, _CHUNK // x.shape[1])
    for first in range(0, len(x), step):
        leading = _leading(x[first : first + step])
        near = np.ldexp(x[first : first + step], -leading[:, None])  # magnitudes below 1
        errors = table[first : first + step]
        errors[:, 0] = np.einsum("rc,rc->r", near, near)
        for fraction in range(MOST + _SHIFTS):  # bits after the binary point
            rounded = np.rint(np.ldexp(near, fraction))
            for depth in range(max(1, fraction + 2 - _SHIFTS), min(MOST, fraction + 1) + 1):
                half = np.float32(2.0 ** (depth - 1))
                difference = np.clip(rounded, -half, half - 1)
                difference *= np.float32(0.5**fraction)
                difference -= near
                found = np.einsum("rc,rc->r", difference, difference)
                np.minimum(errors[:, depth], found, out=errors[:, depth])
        errors *= np.exp2(2.0 * leading)[:, None]
    table /= x.shape[1]
    return table


def _allocate(errors: Table, average: float) -> Ints:
    """Depths with the least sum of errors whose mean is at most ``average``."""
    depths = np.arange(MOST + 1)
    budget = int(np.floor(average * len(errors) + 1e-9))

    def at(price: float) -> Ints:
        chosen: Ints = np.argmin(errors + price * depths, axis=1).astype(np.int32)
        return chosen

    top = float(errors[:, 0].max())
    if top == 0:
        return np.zeros(len(errors), np.int32)
    cheap, dear = -1100.0, float(np.log2(top)) + 1  # log2 of the price of a bit: of nothing, and of everything
    if at(2.0**cheap).sum() <= budget:
        return at(2.0**cheap)
    for _ in range(80):
        middle = (cheap + dear) / 2
        cheap, dear = (cheap, middle) if at(2.0**middle).sum() <= budget else (middle, dear)
    low, high = at(2.0**dear), at(2.0**cheap)
    left = budget - int(low.sum())
    rows = np.flatnonzero(high > low)
    gain = (errors[rows, low[rows]] - errors[rows, high[rows]]) / (high - low)[rows]
    for row in rows[np.argsort(-gain, kind="stable")]:
        if high[row] - low[row] <= left:
            left -= int(high[row] - low[row])
            low[row] = high[row]
    return low
