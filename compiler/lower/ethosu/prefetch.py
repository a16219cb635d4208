"""Which layers' weights are copied into fast memory before they are used, and how early.

A layer that is computed block by block reads its weights once for each row of blocks; from flash or DRAM that costs
more than anything else. A copy is one transfer, which runs beside the kernels before it. The choice is that of the
fewest cycles by the timeline (timeline.py), found layer by layer, within the memory that there is for it. Traffic
counts a little: where a layer computes longer than it reads, a copy saves nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tilewright.lower.ethosu.timeline import Step, kernel_ends

LEADS = (1, 2, 3)
_ROUNDS = 3
_BYTES = 64  # that are worth a cycle


@dataclass(frozen=True)
class Options:
    """What a kernel takes in cycles.

    Attributes:
        direct: with weights where they are.
        copied: with weights in fast memory.
        transfer: of the copy; None where there are no weights.
        table: of a transfer that comes before the kernel in any case.
        saved: bytes of flash or DRAM that are read less with a copy.
    """

    direct: float
    copied: float = 0.0
    transfer: float | None = None
    table: float | None = None
    saved: float = 0.0


def choose_leads(
    options: Sequence[Options], most_transfers: int, fits: Callable[[Sequence[int]], bool]
) -> tuple[int, ...]:
    """For each kernel how many kernels before it weights are copied: 1 is while the one before runs, 0 never.

    Args:
        fits: whether the memory suffices for such copies.
    """
    leads = [0] * len(options)
    least = _price(options, leads, most_transfers)
    for _ in range(_ROUNDS):
        before = least
        for place, option in enumerate(options):
            if option.transfer is None:
                continue
            for lead in (0, *LEADS):
                if lead == leads[place] or lead > place + 1:
                    continue
                tried = [*leads[:place], lead, *leads[place + 1 :]]
                price = _price(options, tried, most_transfers)
                if price < least and (lead == 0 or fits(tried)):
                    leads, least = tried, price
        if least == before:
            break
    return tuple(leads)


def issued(leads: Sequence[int]) -> list[list[int]]:
    """For each kernel, the kernels whose weights are copied by transfers right before it in the stream."""
    found: list[list[int]] = [[] for _ in leads]
    for place, lead in enumerate(leads):
        if lead:
            found[place - lead + 1].append(place)
    return found


def _price(options: Sequence[Options], leads: Sequence[int], most_transfers: int) -> float:
    """Cycles, less what traffic that is saved is worth."""
    ends = kernel_ends(_steps(options, leads), most_transfers)
    saved = sum(option.saved for option, lead in zip(options, leads, strict=True) if lead)
    return (ends[-1] if ends else 0.0) - saved / _BYTES


def _steps(options: Sequence[Options], leads: Sequence[int]) -> list[Step]:
    steps: list[Step] = []
    transfers: list[int] = []  # kernels that they are for, in order
    for place, (mine, copies) in enumerate(zip(options, issued(leads), strict=True)):
        for other in copies:
            transfer = options[other].transfer
            assert transfer is not None
            steps.append(Step("t", transfer))
            transfers.append(other)
        if mine.table is not None:
            steps.append(Step("t", mine.table))
            transfers.append(place)
        if place in transfers:
            steps.append(Step("t", left=transfers[::-1].index(place)))
        steps.append(Step("k", mine.copied if leads[place] else mine.direct))
    return steps
