"""``block_sparse(bh,bw)``: exactly k blocks of bh x bw weights in each block row, so that all rows cost the same.

    payload  float32 [ceil(rows/bh)*bh, k*bw]; columns [b*bw, (b+1)*bw) of a row belong to block b of its block row
    index    uint16 [ceil(rows/bh), k]; the block columns of these blocks, ascending: block J covers matrix columns
             [J*bw, (J+1)*bw)

A matrix whose sides bh and bw do not divide is padded with zeros below and on the right. k is the largest number of
non-zero blocks in a block row, at least one; block rows with fewer carry zero blocks. With 1x1 blocks this is
balanced unstructured sparsity.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tilewright.errors import ArtifactError, DataError, RecipeError
from tilewright.formats.base import Kept, Matrix
from tilewright.formats.checks import checked
from tilewright.formats.element import Element, Extents, Loads, Ops, Value, ceildiv
from tilewright.formats.layouts._select import filled, largest

SIDES = (1, 2, 4, 8, 16, 32)
_MOST_BLOCKS = 1 << 16  # of a block row, by the index type


@dataclass(frozen=True)
class BlockSparse:
    """Balanced blocks.

    Attributes:
        bh: rows of a block.
        bw: columns of a block.
    """

    bh: int
    bw: int

    def __post_init__(self) -> None:
        for name, side in (("bh", self.bh), ("bw", self.bw)):
            if side not in SIDES:
                raise ValueError(f"{name} is {side}; a block's sides are {', '.join(map(str, SIDES))}")

    @property
    def spec(self) -> str:
        return f"block_sparse({self.bh},{self.bw})"

    @property
    def symbol_bits(self) -> Mapping[str, int]:
        return {"index": 16}

    def grid(self, shape: tuple[int, int]) -> tuple[int, int]:
        """Block rows and block columns of a matrix of this shape."""
        return -(-shape[0] // self.bh), -(-shape[1] // self.bw)

    def blocks_per_row(self, shape: tuple[int, int], density: float) -> int:
        """The k nearest to a density in (0, 1], at least 1.

        Raises:
            RecipeError: density out of range.
        """
        if not 0 < density <= 1:
            raise RecipeError(f"density is {density}; it lies in (0, 1]")
        return max(1, int(np.floor(density * self.grid(shape)[1] + 0.5)))

    def pack(self, matrix: Matrix) -> Kept:
        """Keeps the non-zero blocks; exact.

        Raises:
            DataError: more than 65,536 blocks in a block row.
        """
        matrix = checked(matrix)
        blocks = self._blocks(matrix)
        occupied = (blocks != 0).any(axis=(2, 3))
        k = max(1, int(np.count_nonzero(occupied, axis=1).max()))
        columns = filled(occupied, k)
        chosen = np.take_along_axis(blocks, columns[:, :, None, None], axis=1)  # [block rows, k, bh, bw]
        payload = np.ascontiguousarray(chosen.transpose(0, 2, 1, 3)).reshape(-1, k * self.bw)
        rows, width = matrix.shape
        return Kept(payload, {"index": columns.astype(np.uint16)}, (rows, width))

    def unpack(self, kept: Kept) -> Matrix:
        """The matrix.

        Raises:
            ArtifactError: payload and index contradict each other or the shape.
        """
        index = kept.index["index"]
        block_rows, block_columns = self.grid(kept.shape)
        k = index.shape[-1]
        if index.shape != (block_rows, k) or kept.payload.shape != (block_rows * self.bh, k * self.bw):
            raise ArtifactError(
                f"{self.spec}: payload {list(kept.payload.shape)} and index {list(index.shape)} do not make up a "
                f"matrix of shape {list(kept.shape)}"
            )
        if index.size and int(index.max()) >= block_columns:
            raise ArtifactError(f"{self.spec}: block column {int(index.max())} of {block_columns}")
        blocks = np.zeros((block_rows, block_columns, self.bh, self.bw), np.float32)
        chosen = kept.payload.reshape(block_rows, self.bh, k, self.bw).transpose(0, 2, 1, 3)
        np.put_along_axis(blocks, index.astype(np.intp)[:, :, None, None], chosen, axis=1)
        padded = blocks.transpose(0, 2, 1, 3).reshape(block_rows * self.bh, block_columns * self.bw)
        return np.ascontiguousarray(padded[: kept.shape[0], : kept.shape[1]])

    def prune(self, matrix: Matrix, density: float) -> npt.NDArray[np.bool_]:
        """The k blocks of each block row with the most magnitude; exact for this order of rows and columns."""
        matrix = checked(matrix)
        rows, columns = matrix.shape
        k = self.blocks_per_row((rows, columns), density)
        chosen = largest(np.abs(self._blocks(matrix)).sum(axis=(2, 3), dtype=np.float64), k)
        return chosen.repeat(self.bh, axis=0)[:rows].repeat(self.bw, axis=1)[:, :columns]

    def payload_shape(self, shape: tuple[int, int], index: Mapping[str, tuple[int, ...]]) -> tuple[int, int]:
        return self.grid(shape)[0] * self.bh, index["index"][1] * self.bw

    def placer(self, ops: Ops, loads: Loads, shape: Extents, payload: Extents, inner: Element) -> Element:
        kept = ops.compute(payload, inner, "float32")
        index = payload[0] // self.bh, payload[1] // self.bw
        places = ops.positions(loads["index"], index, ceildiv(shape[1], self.bw))

        def element(row: Value, column: Value) -> Value:
            place = places[row // self.bh, column // self.bw]
            found = place > 0
            at = ops.where(found, (place - 1) * self.bw, 0) + column % self.bw
            return ops.where(found, kept[row, at], 0.0)

        return element

    def _blocks(self, matrix: Matrix) -> Matrix:
        """A view or padded copy as [block rows, block columns, bh, bw]."""
        rows, columns = matrix.shape
        block_rows, block_columns = self.grid((rows, columns))
        if block_columns > _MOST_BLOCKS:
            raise DataError(f"{self.spec}: {block_columns} blocks in a row, the index counts to 65536; take a wider bw")
        below, right = block_rows * self.bh - rows, block_columns * self.bw - columns
        padded = np.pad(matrix, ((0, below), (0, right))) if below or right else matrix
        return padded.reshape(block_rows, self.bh, block_columns, self.bw).transpose(0, 2, 1, 3)
