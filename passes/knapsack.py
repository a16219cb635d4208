"""The multiple-choice knapsack: one option of every item, the least error within a size.

Dynamic programming over the Pareto front: after each item only those combinations are kept that no smaller one equals
or beats (Nemhauser and Ullmann 1969). Sizes are never rounded, so a limit always holds. The front is exact unless it
grows beyond ``points``; then the best combination of each of so many steps of size is kept.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Items = Sequence[Sequence[tuple[float, float]]]  # (size, error) of each option of each item

POINTS = 4096
_ROUNDING = 1e-12  # of sums of sizes, relative


@dataclass(frozen=True)
class Point:
    """A combination that no smaller one equals in error.

    Attributes:
        choice: the index of an option, for each item.
    """

    size: float
    error: float
    choice: tuple[int, ...]


def pareto(items: Items, limit: float = math.inf, points: int = POINTS) -> list[Point]:
    """All such combinations up to a size, from the smallest to that of the least error; empty if none is so small.

    Args:
        items: none of them empty; sizes and errors are not negative, and an infinite error is never chosen.
        points: most combinations to keep.
    """
    tables = [np.array(item, np.float64).reshape(-1, 2) for item in items]
    for table in tables:
        table[~np.isfinite(table).all(axis=1)] = np.inf  # never chosen
        if not np.isfinite(table).any():
            raise ValueError("an item has no option of finite size and error")
    least = np.cumsum([0.0, *(table[:, 0].min() for table in reversed(tables))])[::-1]  # of the items from each on
    sizes, errors = np.zeros(1), np.zeros(1)
    history = []  # for each item: the state before and the option of every state
    for table, rest in zip(tables, least[1:], strict=True):
        size = (sizes[:, None] + table[:, 0]).ravel()
        error = (errors[:, None] + table[:, 1]).ravel()
        fits = np.flatnonzero(np.isfinite(error) & (size + rest <= limit * (1 + _ROUNDING)))
        order = fits[np.lexsort((error[fits], size[fits]))]
        kept = _thinned(order[_falling(error[order])], size, points)
        history.append(divmod(kept, len(table)))
        sizes, errors = size[kept], error[kept]
    state = np.arange(len(sizes))
    chosen = np.zeros((len(sizes), len(tables)), np.intp)
    for at in range(len(tables) - 1, -1, -1):
        before, option = history[at]
        chosen[:, at] = option[state]
        state = before[state]
    return [
        Point(float(size), float(error), tuple(map(int, choice)))
        for size, error, choice in zip(sizes, errors, chosen, strict=True)
    ]


def best(items: Items, limit: float, points: int = POINTS) -> Point | None:
    """The combination of the least error within a size, or None if there is none; ``items`` as for ``pareto``."""
    found = pareto(items, limit, points)
    return _filled(items, found[-1], limit) if found else None


def _falling(errors: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """Marks what is less than everything before it."""
    before = np.minimum.accumulate(np.concatenate([[np.inf], errors]))[:-1]
    return errors < before


def _thinned(kept: npt.NDArray[Any], size: npt.NDArray[np.float64], points: int) -> npt.NDArray[Any]:
    """The smallest, and the last in each of equal steps of size."""
    if len(kept) <= points:
        return kept
    first, last = size[kept[0]], size[kept[-1]]
    step = np.floor((size[kept] - first) / (last - first) * (points - 2))
    ends = np.flatnonzero(np.diff(step, prepend=-1, append=points))[1:] - 1
    return kept[np.union1d(0, ends)]


def _filled(items: Items, point: Point, limit: float) -> Point:
    """Spends what a thinned front left unused on the options that reduce the error most."""
    choice, size, error = list(point.choice), point.size, point.error
    while True:
        moves = [
            (option[1] - item[choice[at]][1], at, index)
            for at, item in enumerate(items)
            for index, option in enumerate(item)
            if option[1] < item[choice[at]][1] and size + option[0] - item[choice[at]][0] <= limit
        ]
        if not moves:
            return Point(size, error, tuple(choice))
        gain, at, index = min(moves)
        size += items[at][index][0] - items[at][choice[at]][0]
        error += gain
        choice[at] = index
