"""``int2`` to ``int8``: uniform quantisation, w = scale * (q - zero_point).

    int8                        one scale a channel (row)
    int8(per=tensor)            one scale
    int4(group=32)              one scale every 32 columns of a row; the last group of a row may be shorter
    int4(group=32,asymmetric)   with zero points

    values        uint8, a bit stream (see bits.py) of B-bit symbols, row by row. Symmetric: two's complement q
                  in [-2**(B-1), 2**(B-1)-1]; asymmetric: unsigned q in [0, 2**B-1]. So int4 has the bytes of ONNX's
                  INT4 and UINT4, int8 those of INT8 and UINT8.
    scales        float16 or float32 [1], [rows] or [rows, groups]: fp16 for groups, where they cost up to one bit a
                  weight, fp32 otherwise; ``scale=f16`` and ``scale=f32`` choose. Scales of symmetric groups may be
                  negative (see clipping.py); those of tensors and channels never are.
    zero_points   asymmetric: uint8, a bit stream of B-bit unsigned symbols in the order of the scales

Ranges are clipped for the least squared error; ``clip=minmax`` keeps the whole range.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt

from tilewright.errors import ArtifactError
from tilewright.formats.base import Array, Encoded, Matrix
from tilewright.formats.bits import pack_bits, packed_nbytes, signed, unpack_bits
from tilewright.formats.checks import checked, half
from tilewright.formats.clipping import Clip, Quantiser, Search, weighted_points
from tilewright.formats.element import Element, Extents, Loads, Ops, Value, ceildiv, symbol

Scale = Literal["auto", "f16", "f32"]

_CHUNK = 1 << 17  # elements worked on at a time: temporaries stay in the second-level cache
_LEAST_HALF = 2.0**-17  # as a scale in fp16: a subnormal number with seven bits left
_SAFE_EXPONENT = 30  # beyond 2**+-30 the search would overflow or vanish in float32


@dataclass(frozen=True)
class Integer:
    """A uniform quantiser of 2 to 8 bits.

    Attributes:
        bits: B.
        group: columns that share a scale, 16 to 128; 0 for ``per``.
        per: "channel" (row) or "tensor".
        asymmetric: with zero points.
        scale: how scales are stored; "auto" is f16 for groups, else f32.
        clip: "mse" or "minmax".
    """

    bits: int
    group: int = 0
    per: Literal["channel", "tensor"] = "channel"
    asymmetric: bool = False
    scale: Scale = "auto"
    clip: Clip = "mse"

    names: ClassVar[Mapping[str, Mapping[str, int]]] = {f"int{bits}": {"bits": bits} for bits in range(2, 9)}

    def __post_init__(self) -> None:
        if not 2 <= self.bits <= 8:
            raise ValueError(f"bits is {self.bits}; integers have 2 to 8 bits")
        if self.group and not 16 <= self.group <= 128:
            raise ValueError(f"group is {self.group}; groups have 16 to 128 columns")
        if self.group and self.per == "tensor":
            raise ValueError("group and per=tensor exclude each other")

    @property
    def spec(self) -> str:
        options = [f"group={self.group}"] if self.group else ["per=tensor"] if self.per == "tensor" else []
        options += ["asymmetric"] * self.asymmetric
        options += [f"scale={self.scale}"] * (self.scale != "auto") + ["clip=minmax"] * (self.clip == "minmax")
        return f"int{self.bits}({','.join(options)})" if options else f"int{self.bits}"

    @property
    def symbol_bits(self) -> Mapping[str, int]:
        return {"values": self.bits, "zero_points": self.bits, "scales": 8 * self._scale_type.itemsize}

    def packed_bytes(self, shape: tuple[int, int]) -> int:
        scales = int(np.prod(self.scales_shape(shape)))
        zero_points = packed_nbytes(scales, self.bits) if self.asymmetric else 0
        return packed_nbytes(shape[0] * shape[1], self.bits) + scales * self._scale_type.itemsize + zero_points

    def scales_shape(self, shape: tuple[int, int]) -> tuple[int, ...]:
        """Shape of the scales of a payload of this shape."""
        if self.group:
            return shape[0], -(-shape[1] // self.group)
        return (1,) if self.per == "tensor" else (shape[0],)

    def encode(self, payload: Matrix) -> Encoded:
        """Quantises.

        Raises:
            DataError: NaN, infinity, or weights whose scales leave fp16's range.
        """
        matrix = checked(payload)
        rows, columns = matrix.shape
        exponent, rounding = self._rounding(matrix)
        single = self._fit_tensor(matrix, exponent, rounding) if self.per == "tensor" else None
        symbols = np.empty((rows, columns), np.uint8)
        step = max(1, _CHUNK // columns)

        def work(first: int) -> Quantiser:
            grouped = self._grouped(matrix[first : first + step])
            x = np.ldexp(grouped, -exponent) if exponent else grouped
            quantiser = single or self._search.fit(x, rounding)
            q = quantiser.integers(x)
            if self.asymmetric:
                q -= quantiser.low
            part = symbols[first : first + step]
            part[:] = q.reshape(len(part), -1)[:, :columns].astype(np.int16) & (2**self.bits - 1)
            return quantiser

        with ThreadPoolExecutor() as pool:  # NumPy releases the interpreter's lock
            found = list(pool.map(work, range(0, rows, step)))
        quantisers = [single] if single else found
        scales = np.concatenate([np.ldexp(quantiser.scale, exponent) for quantiser in quantisers])
        arrays: dict[str, Array] = {
            "values": pack_bits(symbols, self.bits),
            "scales": scales.astype(self._scale_type).reshape(self.scales_shape((rows, columns))),
        }
        if self.asymmetric:
            zeros = np.concatenate([-quantiser.low for quantiser in quantisers])
            arrays["zero_points"] = pack_bits(zeros.astype(np.uint8), self.bits)
        return Encoded(arrays, (rows, columns))

    def integers(self, encoded: Encoded) -> tuple[npt.NDArray[np.int16], Matrix]:
        """What kernels compute with: q - zero_point, int16 [rows, columns], and scales, float32 [rows or 1, groups].

        Raises:
            ArtifactError: arrays that do not fit the shape.
        """
        rows, columns = encoded.shape
        scales = encoded.arrays["scales"]
        if scales.shape != self.scales_shape(encoded.shape):
            raise ArtifactError(f"{self.spec}: scales of shape {list(scales.shape)} for weights {rows} x {columns}")
        try:
            symbols = unpack_bits(encoded.arrays["values"], self.bits, rows * columns).reshape(rows, columns)
            if not self.asymmetric:
                q = signed(symbols, self.bits)
            else:
                zeros = unpack_bits(encoded.arrays["zero_points"], self.bits, scales.size).astype(np.int16)
                q = symbols.astype(np.int16) - self._spread(zeros.reshape(scales.shape), columns)
        except ValueError as error:
            raise ArtifactError(f"{self.spec}: {error}") from None
        return q, scales.astype(np.float32).reshape(len(scales), -1)

    def grid(self, encoded: Encoded) -> tuple[Matrix, Matrix, Matrix]:
        """What each element can be: its scale, and the least and greatest q - zero_point.

        Returns:
            Three float32 arrays that broadcast to [rows, columns].

        Raises:
            ArtifactError: arrays that do not fit the shape.
        """
        scales = self.integers(encoded)[1]
        zeros = np.full_like(scales, 2 ** (self.bits - 1))
        if self.asymmetric:
            unpacked = unpack_bits(encoded.arrays["zero_points"], self.bits, scales.size)
            zeros = unpacked.astype(np.float32).reshape(scales.shape)
        scale, zero = (self._spread(array, encoded.shape[1]) for array in (scales, zeros))
        return scale, -zero, np.float32(2**self.bits - 1) - zero

    def encode_integers(self, encoded: Encoded, q: npt.NDArray[np.integer]) -> Encoded:
        """The same scales and zero points with other integers, as ``integers`` returns them: q - zero_point.

        Raises:
            ValueError: another shape, or integers outside of the grid.
        """
        _, low, high = self.grid(encoded)
        if q.shape != encoded.shape or (q < low).any() or (q > high).any():
            raise ValueError(f"{self.spec}: integers {list(q.shape)} do not fit weights {list(encoded.shape)}")
        symbols = q - low.astype(np.int32) if self.asymmetric else q.astype(np.int32) & (2**self.bits - 1)
        return Encoded({**encoded.arrays, "values": pack_bits(symbols.astype(np.uint8), self.bits)}, encoded.shape)

    def decode(self, encoded: Encoded) -> Matrix:
        """(q - zero_point) * scale, one float32 product rounded once.

        Raises:
            ArtifactError: arrays that do not fit the shape.
        """
        q, scales = self.integers(encoded)
        decoded = q.astype(np.float32)
        decoded *= self._spread(scales, encoded.shape[1])
        return decoded

    def decoder(self, ops: Ops, loads: Loads, shape: Extents) -> Element:
        groups = ceildiv(shape[1], self.group) if self.group else 1

        def element(row: Value, column: Value) -> Value:
            at = row * groups + column // self.group if self.group else 0 if self.per == "tensor" else row
            q = symbol(ops, loads["values"], row * shape[1] + column, self.bits)
            if self.asymmetric:
                q = q - symbol(ops, loads["zero_points"], at, self.bits)
            else:
                q = q - ops.where(q < 2 ** (self.bits - 1), 0, 2**self.bits)
            return q.astype("float32") * loads["scales"][at]

        return element

    @property
    def _scale_type(self) -> np.dtype[np.floating]:
        small = self.scale == "f16" or (self.scale == "auto" and self.group)
        return np.dtype(np.float16 if small else np.float32)

    @property
    def _search(self) -> Search:
        signed_scale = bool(self.group) and not self.asymmetric
        return Search(self.bits, self.asymmetric, signed_scale, self.clip, wide=not self.group)

    def _spread(self, per_group: Array, columns: int) -> Array:
        """Repeats one value a group to one a column, broadcastable to [rows, columns]."""
        if not self.group:
            return per_group.reshape(-1, 1)
        return np.repeat(per_group, self.group, axis=1)[:, :columns]

    def _rounding(self, matrix: Matrix) -> tuple[int, Callable[[Matrix], Matrix]]:
        """A power of two that brings extreme weights near 1, and how a scale of such weights is rounded."""
        largest = np.maximum(matrix.max(), -matrix.min())
        if self._scale_type.itemsize == 2:
            typical = np.atleast_1d(largest / 2 ** (self.bits - 1))
            half(typical, f"{self.spec} scales", "use scale=f32 for this layer", _LEAST_HALF)
        exponent = int(np.frexp(largest)[1])
        exponent = exponent if abs(exponent) > _SAFE_EXPONENT else 0

        def rounding(scale: Matrix) -> Matrix:
            if self._scale_type.itemsize == 4 and not exponent:
                return scale
            with np.errstate(over="ignore", under="ignore"):
                stored = np.ldexp(scale, exponent).astype(self._scale_type).astype(np.float32)
            return np.ldexp(stored, -exponent).astype(np.float32)

        return exponent, rounding

    def _fit_tensor(self, matrix: Matrix, exponent: int, rounding: Callable[[Matrix], Matrix]) -> Quantiser:
        points, weights = weighted_points(matrix.ravel())
        return self._search.fit(np.ldexp(points, -exponent), rounding, weights)

    def _grouped(self, rows: Matrix) -> Matrix:
        """Rows as [groups, length], with zeros where a row's last group is short."""
        if not self.group:
            return rows
        return np.pad(rows, ((0, 0), (0, -rows.shape[1] % self.group))).reshape(-1, self.group)
