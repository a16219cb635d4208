"""``dense``: every element is kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tilewright.errors import RecipeError
from tilewright.formats.base import Kept, Matrix
from tilewright.formats.checks import checked
from tilewright.formats.element import Element, Extents, Loads, Ops


@dataclass(frozen=True)
class Dense:
    """The payload is the matrix and there is no index."""

    @property
    def spec(self) -> str:
        return "dense"

    @property
    def symbol_bits(self) -> Mapping[str, int]:
        return {}

    def pack(self, matrix: Matrix) -> Kept:
        payload = checked(matrix)
        rows, columns = payload.shape
        return Kept(payload, {}, (rows, columns))

    def unpack(self, kept: Kept) -> Matrix:
        return kept.payload.copy()

    def prune(self, matrix: Matrix, density: float) -> npt.NDArray[np.bool_]:
        """All true.

        Raises:
            RecipeError: a density below 1, which this layout cannot use.
        """
        if density != 1:
            raise RecipeError(f"dense keeps every weight; density {density} needs block_sparse or two_four")
        return np.ones(np.shape(matrix), np.bool_)

    def payload_shape(self, shape: tuple[int, int], index: Mapping[str, tuple[int, ...]]) -> tuple[int, int]:
        return shape

    def placer(self, ops: Ops, loads: Loads, shape: Extents, payload: Extents, inner: Element) -> Element:
        return inner
