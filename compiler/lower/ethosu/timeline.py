"""When kernels and transfers of a command stream run: what overlaps, and what waits.

The command processor goes through the stream until it meets a wait, or more than the accelerator's queues hold; each
of its two engines, for kernels and for transfers, does one thing after another.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

_MOST_KERNELS = 2  # under way


@dataclass(frozen=True)
class Step:
    """A kernel (``k``) or transfer (``t``) of so many cycles, or a wait until at most ``left`` are left."""

    kind: str
    cycles: float = 0.0
    left: int = -1

    @property
    def waits(self) -> bool:
        return self.left >= 0


def kernel_ends(steps: Iterable[Step], most_transfers: int) -> list[float]:
    """When each kernel ends, in cycles from the beginning."""
    now = 0.0
    ends: dict[str, list[float]] = {"k": [0.0], "t": [0.0]}
    queue = {"k": _MOST_KERNELS, "t": most_transfers}
    for step in steps:
        mine = ends[step.kind]
        if step.waits:
            now = max(now, _last(mine, step.left + 1))
        else:
            now = max(now, _last(mine, queue[step.kind]))
            mine.append(max(now, mine[-1]) + step.cycles)
    return ends["k"][1:]


def _last(ends: Sequence[float], place: int) -> float:
    return ends[-place] if place <= len(ends) else 0.0
