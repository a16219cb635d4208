"""``two_four`` (or ``2:4``): two of every four consecutive columns, the structure of NVIDIA's sparse tensor cores.

    payload  float32 [rows, ceil(columns/4)*2]; columns 2g and 2g+1 are the two kept weights of group g, in column order
    index    uint8, a bit stream (see bits.py) of one 4-bit symbol a group, row by row without gaps: the position of the
             first kept weight (0 to 3) in bits 1:0, of the second in bits 3:2, the first below the second

The last group of a row is padded with zero columns on the right.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from tilewright.errors import ArtifactError, DataError, RecipeError
from tilewright.formats.base import Kept, Matrix
from tilewright.formats.bits import pack_bits, packed_nbytes, unpack_bits
from tilewright.formats.checks import checked
from tilewright.formats.element import Element, Extents, Loads, Ops, Value, equal, symbol
from tilewright.formats.layouts._select import filled, largest


@dataclass(frozen=True)
class TwoFour:
    """Half of the weights, two in each group of four."""

    names: ClassVar[Mapping[str, Mapping[str, int]]] = {"two_four": {}, "2:4": {}}

    @property
    def spec(self) -> str:
        return "two_four"

    @property
    def symbol_bits(self) -> Mapping[str, int]:
        return {"index": 4}

    def pack(self, matrix: Matrix) -> Kept:
        """Keeps the non-zero weights, and zeros where a group has fewer than two.

        Raises:
            DataError: a group with three or four non-zero weights.
        """
        matrix = checked(matrix)
        rows, columns = matrix.shape
        groups = self._groups(matrix)
        occupied = groups != 0
        crowded = np.count_nonzero(occupied, axis=1) > 2
        if crowded.any():
            per_row = -(-columns // 4)
            row, group = divmod(int(np.argmax(crowded)), per_row)
            raise DataError(
                f"two_four: {np.count_nonzero(crowded)} of {len(groups)} groups hold more than two weights, the first "
                f"at row {row}, columns {group * 4} to {group * 4 + 3}; prune the matrix to this layout first"
            )
        positions = filled(occupied, 2)
        payload = np.take_along_axis(groups, positions, axis=1).reshape(rows, -1)
        index = pack_bits((positions[:, 0] | positions[:, 1] << 2).astype(np.uint8), 4)
        return Kept(payload, {"index": index}, (rows, columns))

    def unpack(self, kept: Kept) -> Matrix:
        """The matrix.

        Raises:
            ArtifactError: payload and index contradict each other or the shape.
        """
        rows, columns = kept.shape
        per_row = -(-columns // 4)
        index = kept.index["index"]
        if kept.payload.shape != (rows, per_row * 2) or index.size != packed_nbytes(rows * per_row, 4):
            raise ArtifactError(f"two_four: payload {list(kept.payload.shape)} is not of a matrix {list(kept.shape)}")
        symbols = unpack_bits(index, 4, rows * per_row)
        positions = np.stack([symbols & 3, symbols >> 2], axis=1).astype(np.intp)
        if (positions[:, 0] >= positions[:, 1]).any():
            raise ArtifactError("two_four: positions of a group that do not ascend")
        groups = np.zeros((rows * per_row, 4), np.float32)
        np.put_along_axis(groups, positions, kept.payload.reshape(-1, 2), axis=1)
        return np.ascontiguousarray(groups.reshape(rows, -1)[:, :columns])

    def prune(self, matrix: Matrix, density: float) -> npt.NDArray[np.bool_]:
        """The two largest magnitudes of each group.

        Raises:
            RecipeError: a density other than one half.
        """
        if density != 0.5:
            raise RecipeError(f"two_four keeps one half; density is {density}")
        matrix = checked(matrix)
        rows, columns = matrix.shape
        chosen = largest(np.abs(self._groups(matrix)), 2)
        return np.ascontiguousarray(chosen.reshape(rows, -1)[:, :columns])

    def payload_shape(self, shape: tuple[int, int], index: Mapping[str, tuple[int, ...]]) -> tuple[int, int]:
        return shape[0], -(-shape[1] // 4) * 2

    def placer(self, ops: Ops, loads: Loads, shape: Extents, payload: Extents, inner: Element) -> Element:
        kept = ops.compute(payload, inner, "float32")

        def element(row: Value, column: Value) -> Value:
            group, place = column // 4, column % 4
            pair = symbol(ops, loads["index"], row * (payload[1] // 2) + group, 4)
            first, second = equal(ops, pair % 4, place), equal(ops, pair // 4, place)
            return ops.where(first + second > 0, kept[row, group * 2 + second], 0.0)

        return element

    def _groups(self, matrix: Matrix) -> Matrix:
        """The padded matrix as [groups, 4]."""
        return np.pad(matrix, ((0, 0), (0, -matrix.shape[1] % 4))).reshape(-1, 4)
