"""Which feature maps lie in an accelerator's fast memory, where the others lie in DRAM.

Greedy by traffic: the map that is written and read most comes first, if it fits beside those before it while they are
needed. What is left at a time is for copies of weights (prefetch.py).
"""

from __future__ import annotations

from collections.abc import Mapping

from tilewright.integer.network import Concat, Network, View
from tilewright.lower.arena import Lifetime, plan_arena

CAPACITY = 384 * 1024
"""Bytes: what Vela assumes for Ethos-U65 (vela.ini, Dedicated_Sram_384KB)."""


def traffic(network: Network, roots: Mapping[int, int], sizes: Mapping[int, int]) -> dict[int, int]:
    """Bytes that are written to and read from the memory of each root, each map as a whole whenever it is read.

    Args:
        roots: for each map the one whose memory it lies in.
        sizes: bytes of those to be looked at.
    """
    found = dict.fromkeys(sizes, 0)
    for operation in network.operations:
        if not isinstance(operation, (View, Concat)):
            for index in (*operation.sources, operation.target):
                if roots[index] in found:
                    found[roots[index]] += min(sizes[roots[index]], network.maps[index].nbytes)
    return found


def choose_fast(wanted: Mapping[int, int], needs: Mapping[int, Lifetime], capacity: int) -> frozenset[int]:
    """The roots whose memory is to be fast.

    Args:
        wanted: traffic of each.
        needs: bytes and lifetime of each.
        capacity: bytes.
    """
    chosen: list[int] = []
    for root in sorted(wanted, key=lambda root: (-wanted[root], root)):
        if plan_arena([needs[other] for other in (*chosen, root)]).nbytes <= capacity:
            chosen.append(root)
    return frozenset(chosen)
