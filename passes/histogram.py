"""The distribution of a tensor over any amount of data, in bounded memory."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

SIDE = 1 << 13  # bins on either side of zero; the largest magnitude lies in the outer half of its side
COUNTED = 1 << 16  # elements of one array that are counted; extremes are looked for in all of them
_LEAST_EXPONENT = -120  # a narrower bin could not be inverted in float32


@dataclass
class Histogram:
    """Counts of equal bins around zero; the bins double in width, exactly, when a value lies outside.

    Bin i of 2 * SIDE holds [(i - SIDE) * width, (i - SIDE + 1) * width), where width is a power of two.

    Attributes:
        counts: int64 [2 * SIDE].
        sums: float64 [2 * SIDE], the sum of the values in each bin.
        minimum, maximum: of all finite values; inf and -inf as long as there are none.
        zeros: how many of the values counted are exactly zero.
        nonfinite: how many are NaN or infinite; they are counted nowhere else.
    """

    counts: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(2 * SIDE, np.int64))
    sums: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros(2 * SIDE, np.float64))
    exponent: int | None = None
    minimum: float = float("inf")
    maximum: float = float("-inf")
    zeros: int = 0
    nonfinite: int = 0

    @property
    def width(self) -> float:
        """Of a bin; 0 before any value but zero."""
        return 0.0 if self.exponent is None else float(2.0**self.exponent)

    @property
    def total(self) -> int:
        """Finite values counted."""
        return self.zeros if self.exponent is None else int(self.counts.sum())

    def add(self, values: Array) -> None:
        """Takes in a floating-point array: its extremes, and up to COUNTED of its elements, evenly spread."""
        x = np.asarray(values, np.float32).ravel()
        if not x.size:
            return
        low, high = x.min(), x.max()
        if not (np.isfinite(low) and np.isfinite(high)):
            finite = np.isfinite(x)
            self.nonfinite += int(x.size - np.count_nonzero(finite))
            x = x[finite]
            if not x.size:
                return
            low, high = x.min(), x.max()
        self.minimum, self.maximum = min(self.minimum, float(low)), max(self.maximum, float(high))
        step = -(-x.size // COUNTED) | 1  # odd, so that it does not fall in step with rows of even length
        self._count(x[:: step if x.size > COUNTED else 1], float(max(-low, high)))

    def points(self) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float64]]:
        """The mean of every bin that is not empty, ascending, and its count."""
        if self.exponent is None:
            return np.zeros(min(self.zeros, 1), np.float32), np.full(min(self.zeros, 1), self.zeros, np.float64)
        used = np.flatnonzero(self.counts)
        counts = self.counts[used].astype(np.float64)
        return (self.sums[used] / counts).astype(np.float32), counts

    def _count(self, x: Array, magnitude: float) -> None:
        zeros, before = int(x.size - np.count_nonzero(x)), self.zeros
        self.zeros += zeros
        if self.exponent is None:
            if magnitude == 0:
                return
            self.counts[SIDE] = before
        self._reach(magnitude)
        index = np.floor(np.ldexp(x, -(self.exponent or 0))).astype(np.int32) + SIDE
        self.counts += np.bincount(index, minlength=2 * SIDE)
        self.sums += np.bincount(index, weights=x, minlength=2 * SIDE)

    def _reach(self, magnitude: float) -> None:
        """Widens the bins until a magnitude lies inside."""
        needed = max(int(np.frexp(magnitude)[1]) - (SIDE.bit_length() - 1), _LEAST_EXPONENT)
        if self.exponent is None:
            self.exponent = needed
        merged = min(1 << max(needed - self.exponent, 0), SIDE)
        if merged > 1:
            half = SIDE // merged
            for bins in (self.counts, self.sums):
                grouped = bins.reshape(-1, merged).sum(axis=1)
                bins[:] = 0
                bins[SIDE - half : SIDE + half] = grouped
        self.exponent = max(self.exponent, needed)
