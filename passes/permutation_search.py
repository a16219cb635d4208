"""Searches row and column permutations of a matrix under which a pruning structure keeps the most magnitude.

Pruning by matrix pivoting, after Sredojevic et al., "Structured Deep Neural Network Pruning via Matrix Pivoting" (2017,
arXiv:1712.01084); what follows is our reconstruction. With the permutations fixed, the best balanced mask is a top-k
in each block row. With the mask and one permutation fixed, the best other permutation is a linear assignment to slots.
Both steps never lose, so alternating them climbs; exchanging a few rows and columns at random leads out of local
optima, and the best state seen is what counts.

Two starts are tried: the order as it is, and one that brings rows (then columns) with similar magnitudes together.
An assignment of n slots costs O(n^3), so slots are assigned in random groups, each group exactly.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

Permutation = npt.NDArray[np.intp]
Magnitudes = npt.NDArray[Any]  # float32

GROUP = 512  # slots that are assigned together; larger groups cost much and gain nothing measurable
EXCHANGED = 0.03  # share of rows and columns that an escape moves


@dataclass(frozen=True)
class Pivot:
    """Where rows and columns go: ``matrix[rows][:, columns]`` is what the structure is laid over.

    Attributes:
        kept: magnitude (sum of |w|) that the structure keeps after permuting; never below ``unpivoted``.
        unpivoted: the same without permuting.
    """

    rows: Permutation
    columns: Permutation
    kept: float
    unpivoted: float


def pivot_blocks(
    weights: npt.NDArray[np.floating],
    block: tuple[int, int],
    blocks_per_row: int,
    *,
    permute_rows: bool = True,
    permute_columns: bool = True,
    escapes: int | None = None,
    seed: int = 0,
) -> Pivot:
    """Permutations for balanced block sparsity.

    Args:
        weights: [rows, columns], or [taps, rows, columns] for a convolution, whose taps share the permutations; a side
            that the block does not divide is padded with zeros, which stay at the end.
        block: (rows, columns) of a block.
        blocks_per_row: blocks kept in each block row, over all taps.
        permute_rows, permute_columns: False where that order is given from outside.
        escapes: how often to leave a local optimum; by default 4 times, never for a matrix of over 4 M elements, which
            takes half a minute to climb once.
    """
    movable = permute_rows, permute_columns
    search = _BlockSearch(weights, block, blocks_per_row, movable, np.random.default_rng(seed))
    if escapes is None:
        escapes = 4 if weights.size <= 1 << 22 else 0
    return search.run(escapes)


@dataclass
class _State:
    rows: Permutation
    columns: Permutation
    kept: float


class _BlockSearch:
    def __init__(
        self,
        weights: npt.NDArray[np.floating],
        block: tuple[int, int],
        blocks_per_row: int,
        movable: tuple[bool, bool],
        rng: np.random.Generator,
    ) -> None:
        taps = weights if weights.ndim == 3 else weights[None]
        self.real = taps.shape[1:]
        self.bh, self.bw = block
        self.k = blocks_per_row
        self.permute_rows, self.permute_columns = movable
        self.rng = rng
        height, width = (-(-side // size) * size for side, size in zip(self.real, block, strict=True))
        self.magnitudes: Magnitudes = np.zeros((len(taps), height, width), np.float32)
        self.magnitudes[:, : self.real[0], : self.real[1]] = np.abs(taps)

    def run(self, escapes: int) -> Pivot:
        _, height, width = self.magnitudes.shape
        identity = _State(np.arange(height), np.arange(width), 0.0)
        identity.kept = unpivoted = self.kept(identity)
        if not (self.permute_rows or self.permute_columns):
            return Pivot(identity.rows[: self.real[0]], identity.columns[: self.real[1]], unpivoted, unpivoted)
        best = max((self.climb(start) for start in (identity, self.similar(identity))), key=lambda state: state.kept)
        for _ in range(escapes):
            best = max(best, self.climb(self.exchange(best)), key=lambda state: state.kept)
        rows, columns = best.rows[: self.real[0]], best.columns[: self.real[1]]
        return Pivot(rows, columns, best.kept, unpivoted)

    def climb(self, state: _State) -> _State:
        """Alternates columns and rows until a round gains less than a ten-thousandth."""
        while True:
            before = state.kept
            if self.permute_columns:
                state = self.assign_columns(state)
            if self.permute_rows:
                state = self.assign_rows(state)
            if state.kept <= before * (1 + 1e-4):
                return state

    def block_rows(self, rows: Permutation) -> Magnitudes:
        """Magnitudes summed over each block row: [taps, block rows, columns], columns in their original order."""
        taps, _, width = self.magnitudes.shape
        sums: Magnitudes = self.magnitudes[:, rows].reshape(taps, -1, self.bh, width).sum(2)
        return sums

    def block_columns(self, columns: Permutation) -> Magnitudes:
        """Magnitudes summed over each block column: [taps, rows, block columns], rows in their original order."""
        taps, height, _ = self.magnitudes.shape
        sums: Magnitudes = self.magnitudes[:, :, columns].reshape(taps, height, -1, self.bw).sum(3)
        return sums

    def mask(self, scores: Magnitudes) -> npt.NDArray[np.float32]:
        """1 for the k largest blocks of each block row, else 0: [taps, block rows, block columns]."""
        flat = _by_block_row(scores)
        mask = np.zeros_like(flat)
        np.put_along_axis(mask, np.argpartition(-flat, self.k - 1, axis=1)[:, : self.k], 1, axis=1)
        return mask.reshape(flat.shape[0], scores.shape[0], -1).transpose(1, 0, 2)

    def kept(self, state: _State) -> float:
        scores = _by_block_row(self.slots(self.block_rows(state.rows), state.columns))
        return float(np.partition(scores, -self.k, axis=1)[:, -self.k :].sum(dtype=np.float64))

    def slots(self, sums: Magnitudes, columns: Permutation) -> Magnitudes:
        """Sums over block rows summed over block columns too: [taps, block rows, block columns]."""
        taps, height, _ = sums.shape
        scores: Magnitudes = sums[:, :, columns].reshape(taps, height, -1, self.bw).sum(3)
        return scores

    def assign_columns(self, state: _State) -> _State:
        sums = self.block_rows(state.rows)
        mask = self.mask(self.slots(sums, state.columns))
        gain = (sums.transpose(0, 2, 1) @ mask).sum(0)  # [columns, block columns]
        columns = self.assign(gain, state.columns, self.bw, self.real[1])
        return self.better(state, _State(state.rows, columns, 0.0))

    def assign_rows(self, state: _State) -> _State:
        sums = self.block_columns(state.columns)
        taps, _, width = sums.shape
        mask = self.mask(sums[:, state.rows].reshape(taps, -1, self.bh, width).sum(2))
        gain = (sums @ mask.transpose(0, 2, 1)).sum(0)  # [rows, block rows]
        rows = self.assign(gain, state.rows, self.bh, self.real[0])
        return self.better(state, _State(rows, state.columns, 0.0))

    def better(self, old: _State, new: _State) -> _State:
        new.kept = self.kept(new)
        return new if new.kept > old.kept else old

    def assign(self, gain: Magnitudes, order: Permutation, size: int, count: int) -> Permutation:
        """The best order for ``gain[item, slot]`` within random groups of the first ``count`` positions."""
        order = order.copy()
        positions = self.rng.permutation(count)
        for group in np.array_split(positions, -(-count // GROUP)):
            items = order[group]
            chosen, slots = linear_sum_assignment(gain[items[:, None], group[None, :] // size], maximize=True)
            order[group[slots]] = items[chosen]
        return order

    def exchange(self, state: _State) -> _State:
        """A copy with a few rows and columns moved at random."""
        rows = self.shuffled(state.rows, self.real[0]) if self.permute_rows else state.rows
        columns = self.shuffled(state.columns, self.real[1]) if self.permute_columns else state.columns
        new = _State(rows, columns, 0.0)
        new.kept = self.kept(new)
        return new

    def shuffled(self, order: Permutation, count: int) -> Permutation:
        order = order.copy()
        moved = self.rng.choice(count, min(count, max(2, round(EXCHANGED * count))), replace=False)
        order[moved] = order[np.roll(moved, 1)]
        return order

    def similar(self, state: _State) -> _State:
        """Rows, then columns, brought together by doubling: the most similar pairs, then pairs of pairs ..."""
        rows = state.rows
        if self.permute_rows:
            rows = _group_similar(_by_block_row(self.magnitudes[:, : self.real[0]]), self.bh, len(rows))
        columns = state.columns
        if self.permute_columns:
            sums = self.block_rows(rows)[:, :, : self.real[1]]
            columns = _group_similar(sums.reshape(-1, self.real[1]).T, self.bw, len(columns))
        new = _State(rows, columns, 0.0)
        new.kept = self.kept(new)
        return new


def _by_block_row(sums: Magnitudes) -> Magnitudes:
    """[taps, rows, columns] as [rows, taps x columns]."""
    return sums.transpose(1, 0, 2).reshape(sums.shape[1], -1)


def _group_similar(vectors: Magnitudes, size: int, padded: int) -> Permutation:
    """An order of vectors in which groups of ``size`` are alike (by cosine of their excess over the mean)."""
    groups = [[index] for index in range(len(vectors))]
    sums = vectors - vectors.mean(0)
    width = 1
    while width < size and len(groups) > 1:
        pairs, rest = _pair(sums)
        groups = [groups[a] + groups[b] for a, b in pairs] + [groups[a] for a in rest]
        sums = np.concatenate([sums[pairs[:, 0]] + sums[pairs[:, 1]], sums[rest]])
        width *= 2
    order = [index for group in groups for index in group]
    return np.array([*order, *range(len(order), padded)], np.intp)


def _pair(vectors: Magnitudes) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Disjoint pairs, most similar first, among nearest neighbours; what is left is paired in order."""
    count = len(vectors)
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-20)
    neighbours = min(16, count - 1)
    starts, ends, weights = [], [], []
    for begin in range(0, count, 1024):
        similarity = unit[begin : begin + 1024] @ unit.T
        index = np.arange(len(similarity))
        similarity[index, begin + index] = -np.inf
        nearest = np.argpartition(-similarity, neighbours - 1, axis=1)[:, :neighbours]
        starts.append(np.repeat(begin + index, neighbours))
        ends.append(nearest.ravel())
        weights.append(np.take_along_axis(similarity, nearest, 1).ravel())
    start, end, weight = np.concatenate(starts), np.concatenate(ends), np.concatenate(weights)
    free = np.ones(count, bool)
    pairs = []
    for edge in np.argsort(-weight, kind="stable"):
        a, b = start[edge], end[edge]
        if free[a] and free[b]:
            free[a] = free[b] = False
            pairs.append((a, b))
    left = np.flatnonzero(free)
    half = len(left) // 2
    pairs.extend(zip(left[:half], left[half : 2 * half], strict=True))
    return np.array(pairs, np.intp).reshape(-1, 2), left[2 * half :]


def pivot_two_four(weights: npt.NDArray[np.floating], *, rounds: int = 2000, seed: int = 0) -> Pivot:
    """A column permutation for 2:4 sparsity (two of four consecutive columns kept in each row).

    One column is taken from every stripe of four; putting them back is a linear assignment that is exact for the other
    three columns of each stripe, so no round loses. Compare Pool and Yu, "Channel Permutations for N:M" (2021).

    Raises:
        ValueError: the number of columns is no multiple of 4.
    """
    magnitudes = np.abs(weights).astype(np.float32)
    rows, width = magnitudes.shape
    if width % 4:
        raise ValueError(f"2:4 needs a multiple of 4 columns, not {width}")
    rng = np.random.default_rng(seed)
    columns = np.arange(width)
    unpivoted = _kept_two_four(magnitudes)
    stripes = np.arange(width // 4)
    for _ in range(rounds if width > 4 else 0):
        some = stripes if len(stripes) <= 64 else rng.choice(stripes, 64, replace=False)
        positions = 4 * some + rng.integers(0, 4, len(some))
        others = 4 * some[:, None] + (positions[:, None] % 4 + np.arange(1, 4)) % 4
        # top two of (three kept columns and the candidate): the larger of (first, second) and what the candidate adds
        three = np.sort(magnitudes[:, columns[others]], axis=2)  # [rows, stripes, 3]
        candidates = magnitudes[:, columns[positions]]  # [rows, candidates]
        gain = np.maximum(candidates[:, None, :] - three[:, :, 1, None], 0).sum(0)  # [stripes, candidates]
        chosen, taken = linear_sum_assignment(gain, maximize=True)
        columns[positions[chosen]] = columns[positions[taken]]
    return Pivot(np.arange(rows), columns, _kept_two_four(magnitudes[:, columns]), unpivoted)


def _kept_two_four(magnitudes: Magnitudes) -> float:
    groups = magnitudes.reshape(len(magnitudes), -1, 4)
    return float(np.partition(groups, 1, axis=2)[:, :, 2:].sum(dtype=np.float64))
