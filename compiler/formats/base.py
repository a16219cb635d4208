"""The three parts of a weight format, and what they produce.

A weight tensor is seen as a matrix [rows, columns]: rows are output channels, columns are everything that one output
channel multiplies. A layout keeps some of its elements as a smaller payload matrix with the same rows, plus index
arrays; a codec turns the payload into packed arrays; a storage turns arrays into bytes.

Every part is a small frozen object, made from a spec such as ``block_sparse(4,4)`` or ``int4(group=32)``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Matrix = npt.NDArray[np.float32]
Arrays = Mapping[str, Array]  # by role: "values", "scales", "zero_points", "codebook", "index", ...; all count in size


@dataclass(frozen=True)
class Kept:
    """What a layout keeps of a matrix.

    Attributes:
        payload: float32 [rows (padded), kept columns]; padding is zero.
        index: arrays that say where the payload's elements stood.
        shape: rows and columns of the matrix before padding.
    """

    payload: Matrix
    index: Arrays
    shape: tuple[int, int]


class Layout(Protocol):
    """Which elements of a matrix are stored."""

    @property
    def spec(self) -> str:
        """The text that makes an equal layout, for example ``block_sparse(4,4)``."""
        ...

    def pack(self, matrix: Matrix) -> Kept:
        """Keeps the elements that are not zero; exact: ``unpack(pack(m)) == m``.

        Raises:
            DataError: the zeros of ``matrix`` do not have this layout's structure.
        """
        ...

    def unpack(self, kept: Kept) -> Matrix:
        """The matrix, with zeros where nothing was kept."""
        ...

    def prune(self, matrix: Matrix, density: float) -> npt.NDArray[np.bool_]:
        """The mask of this layout's structure that keeps the most magnitude (sum of |w|) at a density in (0, 1]."""
        ...


@dataclass(frozen=True)
class Encoded:
    """A payload after a codec.

    Attributes:
        arrays: packed arrays by role; their bytes are the codec's whole cost, padding included.
        shape: of the payload.
    """

    arrays: Arrays
    shape: tuple[int, int]

    @property
    def nbytes(self) -> int:
        return sum(array.nbytes for array in self.arrays.values())


class Codec(Protocol):
    """How the elements of a payload are encoded."""

    @property
    def spec(self) -> str:
        """The text that makes an equal codec, for example ``int4(group=32)``."""
        ...

    def encode(self, payload: Matrix) -> Encoded:
        """Encodes; lossy unless the codec is exact. Deterministic.

        Raises:
            DataError: NaN or infinity in the payload.
        """
        ...

    def decode(self, encoded: Encoded) -> Matrix:
        """The reference decoder, which every kernel equals: float32 of the payload's shape."""
        ...

    def packed_bytes(self, shape: tuple[int, int]) -> int:
        """Exact bytes of ``encode`` for a payload of this shape, where they do not depend on the values.

        Raises:
            ValueError: they do depend on the values.
        """
        ...


class Storage(Protocol):
    """How an array's bytes lie in the file."""

    @property
    def spec(self) -> str: ...

    def compress(self, array: Array, symbol_bits: int) -> bytes:
        """Bytes for the file.

        Args:
            symbol_bits: width of the packed symbols in ``array`` (4 for int4), which entropy coding works on.
        """
        ...

    def expand(self, data: bytes, nbytes: int) -> Array:
        """The array's bytes as uint8 [nbytes].

        Raises:
            ArtifactError: damaged data; never allocates more than ``nbytes`` plus a constant.
        """
        ...
