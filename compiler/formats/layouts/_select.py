"""Choices that the sparse layouts share: exactly k entries of each row of a table."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Mask = npt.NDArray[np.bool_]


def largest(scores: npt.NDArray[np.floating], k: int) -> Mask:
    """Marks the k largest scores of each row of [rows, columns]; among equal scores the leftmost win."""
    columns = scores.shape[1]
    if k >= columns:
        return np.ones(scores.shape, np.bool_)
    border = np.partition(scores, columns - k, axis=1)[:, columns - k, None]
    above = scores > border
    return above | _leftmost(scores == border, k - np.count_nonzero(above, axis=1))


def filled(mask: Mask, k: int) -> npt.NDArray[np.intp]:
    """Ascending column numbers [rows, k] of the marked entries, filled up to k with the leftmost unmarked ones."""
    full = mask | _leftmost(~mask, k - np.count_nonzero(mask, axis=1))
    return np.nonzero(full)[1].reshape(len(mask), k)


def _leftmost(mask: Mask, counts: npt.NDArray[np.integer]) -> Mask:
    """Of each row's marked entries, the first ``counts[row]``."""
    kept = mask.copy()
    cut = np.flatnonzero(np.count_nonzero(mask, axis=1) > counts)
    kept[cut] &= np.cumsum(mask[cut], axis=1, dtype=np.int32) <= counts[cut, None]
    return kept
