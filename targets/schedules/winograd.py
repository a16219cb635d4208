"""Winograd's minimal filtering: tiles of a convolution's outputs by fewer multiplications.

A row of m outputs of a filter with r taps is ``A' ((G g) * (B' d))`` with n = m + r - 1 multiplications instead of m r
(Winograd 1980; for convolutional networks Lavin and Gray, arXiv 1509.09308). The matrices are Toom and Cook's: products
of polynomials evaluated at n - 1 points and at infinity, transposed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from typing import TypeVar

import numpy as np
import numpy.typing as npt

T = TypeVar("T")
Matrix = npt.NDArray[np.float32]
Add = Callable[["T | None", float, T], T]  # (sum so far, coefficient, value) -> the sum

# Zero and pairs p, -p, so that sums serve two rows. At six points these pairs of few bits lose least, about as much as
# the direct sum; the usual 1 and 2 lose several times that.
_POINTS = {4: ("0", "1", "-1"), 6: ("0", "5/8", "-5/8", "3/2", "-3/2")}


@dataclass(frozen=True)
class Transforms:
    """The matrices of one size.

    Attributes:
        outputs, taps: m and r.
        data: B', [n, n]. weights: G, [n, r]. result: A', [m, n].
    """

    outputs: int
    taps: int
    data: Matrix
    weights: Matrix
    result: Matrix

    @property
    def size(self) -> int:
        """n: inputs of a tile in one direction, and multiplications for it."""
        return self.outputs + self.taps - 1


@cache
def transforms(outputs: int, taps: int) -> Transforms:
    """The matrices for ``outputs`` results of ``taps`` taps; ``outputs + taps - 1`` has to be 4 or 6."""
    size = outputs + taps - 1
    points = [Fraction(point) for point in _POINTS[size]]
    data = [_product(point for point in points if point != left) for left in points]
    scales = [_value(row, point) for row, point in zip(data, points, strict=True)]
    weights = [
        [float(point**power / scale) for power in range(taps)] for point, scale in zip(points, scales, strict=True)
    ]
    result = [[*(float(point**power) for point in points), power == outputs - 1] for power in range(outputs)]
    return Transforms(
        outputs,
        taps,
        np.array([*([*map(float, row), 0] for row in data), [*map(float, _product(points))]], np.float32),
        np.array([*weights, [*[0] * (taps - 1), 1]], np.float32),
        np.array(result, np.float32),
    )


def sizes(taps: int) -> list[int]:
    """How many outputs a tile may have in one direction."""
    return [size - taps + 1 for size in _POINTS if size > taps]


def to_points(matrix: Matrix, values: Sequence[T], add: Add[T]) -> list[T]:
    """B' or G by a vector. Rows of opposite points differ in the signs of odd places only and share their sums."""

    def dot(row: int, places: Sequence[int]) -> T:
        return _sum([(float(matrix[row, place]), values[place]) for place in places], add)

    every = range(len(values))
    found = [dot(0, every)]
    for row in range(1, len(matrix) - 1, 2):
        even, odd = dot(row, every[::2]), dot(row, every[1::2])
        found += [add(even, 1, odd), add(even, -1, odd)]
    return [*found, dot(len(matrix) - 1, every)]


def from_points(matrix: Matrix, values: Sequence[T], add: Add[T]) -> list[T]:
    """A' by a vector. Even rows take the sums of values at opposite points and odd rows their differences."""
    places = range(1, len(values) - 1, 2)
    taken = [
        [(0, values[0]), *((place, add(values[place], 1, values[place + 1])) for place in places)],
        [(place, add(values[place], -1, values[place + 1])) for place in places],
    ]
    last = (len(values) - 1, values[-1])
    return [
        _sum([(float(coefficients[place]), value) for place, value in [*taken[row % 2], last]], add)
        for row, coefficients in enumerate(matrix)
    ]


def in_both_directions(
    step: Callable[[Matrix, Sequence[T], Add[T]], list[T]], matrix: Matrix, tile: Sequence[T], add: Add[T]
) -> list[T]:
    """``matrix @ tile @ matrix.T`` of a square tile, given and returned row by row."""
    side = matrix.shape[1]
    columns = [step(matrix, tile[start::side], add) for start in range(side)]
    return [value for row in zip(*columns, strict=True) for value in step(matrix, row, add)]


def operations(step: Callable[[Matrix, Sequence[int], Add[int]], list[int]], matrix: Matrix) -> int:
    """Multiplications and additions of ``in_both_directions`` for a square tile."""
    count = 0

    def add(total: int | None, coefficient: float, value: int) -> int:
        nonlocal count
        count += (total is not None) + (abs(coefficient) != 1)
        return value

    in_both_directions(step, matrix, [0] * matrix.shape[1] ** 2, add)
    return count


def _sum(terms: Sequence[tuple[float, T]], add: Add[T]) -> T:
    total: T | None = None
    for coefficient, value in terms:
        if coefficient:
            total = add(total, coefficient, value)
    assert total is not None
    return total


def _product(points: Iterable[Fraction]) -> list[Fraction]:
    """Coefficients, constant first, of the product of ``x - point``."""
    found = [Fraction(1)]
    for point in points:
        shifted, scaled = [Fraction(0), *found], [*(-point * c for c in found), Fraction(0)]
        found = [a + b for a, b in zip(shifted, scaled, strict=True)]
    return found


def _value(polynomial: Sequence[Fraction], point: Fraction) -> Fraction:
    return sum((c * point**power for power, c in enumerate(polynomial)), Fraction(0))
