"""Static memory planning: where each intermediate tensor lies in the one arena of a session.

Offline dynamic storage allocation with known lifetimes is NP-hard; first fit by a few orders reaches the lower bound
(the largest sum of sizes alive at one step) on the usual networks, as Pisarchyk and Lee, "Efficient Memory Management
for Deep Neural Net Inference" (2020) found for greedy-by-size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tilewright.plan import ARENA_ALIGNMENT


@dataclass(frozen=True)
class Lifetime:
    """A tensor of ``nbytes``, written first at step ``first`` and used last at step ``last`` (both included)."""

    nbytes: int
    first: int
    last: int

    @property
    def padded(self) -> int:
        return -(-self.nbytes // ARENA_ALIGNMENT) * ARENA_ALIGNMENT

    def overlaps(self, other: Lifetime) -> bool:
        return self.first <= other.last and other.first <= self.last


@dataclass(frozen=True)
class Arena:
    """Byte offsets in the order of the given lifetimes, and the arena's size."""

    offsets: tuple[int, ...]
    nbytes: int


def lower_bound(lifetimes: Sequence[Lifetime]) -> int:
    """Bytes that are alive together at the worst step: no plan without recomputation can need less."""
    change: dict[int, int] = {}
    for item in lifetimes:
        change[item.first] = change.get(item.first, 0) + item.padded
        change[item.last + 1] = change.get(item.last + 1, 0) - item.padded
    alive = peak = 0
    for step in sorted(change):
        alive += change[step]
        peak = max(peak, alive)
    return peak


def plan_arena(lifetimes: Sequence[Lifetime]) -> Arena:
    """The smallest of several first-fit packings; stops at the first that reaches the lower bound."""
    orders = (
        lambda i: (-lifetimes[i].padded, lifetimes[i].first),
        lambda i: (-lifetimes[i].padded * (lifetimes[i].last - lifetimes[i].first + 1), lifetimes[i].first),
        lambda i: (lifetimes[i].first - lifetimes[i].last, -lifetimes[i].padded),
        lambda i: (lifetimes[i].first, -lifetimes[i].padded),
    )
    bound = lower_bound(lifetimes)
    best: Arena | None = None
    for order in orders:
        arena = _first_fit(lifetimes, sorted(range(len(lifetimes)), key=order))
        if best is None or arena.nbytes < best.nbytes:
            best = arena
        if best.nbytes == bound:
            break
    assert best is not None
    return best


def _first_fit(lifetimes: Sequence[Lifetime], order: Sequence[int]) -> Arena:
    offsets = [0] * len(lifetimes)
    placed: list[int] = []
    end = 0
    for index in order:
        item, offset = lifetimes[index], 0
        rivals = (other for other in placed if lifetimes[other].overlaps(item))
        for start, stop in sorted((offsets[other], offsets[other] + lifetimes[other].padded) for other in rivals):
            if offset + item.padded <= start:
                break
            offset = max(offset, stop)
        offsets[index] = offset
        placed.append(index)
        end = max(end, offset + item.padded)
    return Arena(tuple(offsets), end)
