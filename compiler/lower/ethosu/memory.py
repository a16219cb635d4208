"""Where feature maps and copied weights lie: inputs and outputs in regions of their own, all else in scratch memory."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tilewright.integer.network import Network, View
from tilewright.lower.arena import Lifetime, plan_arena
from tilewright.lower.ethosu.fast import choose_fast, traffic
from tilewright.lower.ethosu.moves import BRICK, in_bricks, slices
from tilewright.lower.stream_memory import SCRATCH, WEIGHTS, lifetimes, outer_regions, shared

__all__ = ["FAST", "SCRATCH", "WEIGHTS", "Buffer", "Place", "Placement", "place", "place_best"]

FAST = 2
"""The region of fast memory, as Vela has it; without any it is that of the first input."""


@dataclass(frozen=True)
class Place:
    """Where a map lies.

    Attributes:
        bricks: NHCWB16 (blocks of 16 channels), else NHWC.
        depth: channels of the map in memory, of which this one may be a slice.
    """

    region: int
    address: int
    bricks: bool
    depth: int


@dataclass(frozen=True)
class Buffer:
    """Scratch memory for something else than a map: bytes, and the first and last operation that it is kept for."""

    key: int
    nbytes: int
    first: int
    last: int


@dataclass(frozen=True)
class Placement:
    """Places by map, addresses of buffers by key, and the bytes of scratch memory and of fast memory, where buffers are
    if there is any."""

    places: Mapping[int, Place]
    buffers: Mapping[int, int]
    scratch_bytes: int
    fast_bytes: int = 0


def place(network: Network, buffers: Sequence[Buffer] = (), fast: Collection[int] | None = None) -> Placement:
    """Places every map and buffer.

    Args:
        fast: the maps that go to fast memory; None where there is none.

    Raises:
        UnsupportedError: more inputs and outputs than there are regions, or a view of an input is an output.
    """
    return _Plan(network, fast is not None).place(buffers, fast or ())


def place_best(network: Network, capacity: int) -> frozenset[int]:
    """The maps that fast memory is best used for; see fast.py. Raises as place does."""
    plan = _Plan(network, True)
    return choose_fast(traffic(network, plan.roots, plan.sizes), plan.needs, capacity)


class _Plan:
    """What maps share, where they cannot be moved from, and what memory the others need.

    Attributes:
        roots: for each map the one whose memory it lies in.
        sizes, needs: bytes of the roots that are to be placed, and their lifetimes.
    """

    def __init__(self, network: Network, has_fast: bool) -> None:
        self._network, self._has_fast = network, has_fast
        self._regions = outer_regions(network, FAST + 1 if has_fast else FAST)
        self._parts = slices(network)
        self._plain = {index for operation in network.operations if isinstance(operation, View) for index in
                       (operation.source, operation.target)}  # fmt: skip
        self._plain |= {target for target, _ in self._parts.values()} - in_bricks(self._parts)
        self.roots = shared(network)
        self.roots |= {part: self.roots[target] for part, (target, _) in self._parts.items()}
        spans = {root: span for root, span in lifetimes(network, self.roots).items() if root not in self._regions}
        self.sizes = {root: _bytes(network, root, root not in self._plain) for root in spans}
        self.needs = {root: Lifetime(self.sizes[root], *span) for root, span in spans.items()}

    def place(self, buffers: Sequence[Buffer], fast: Collection[int]) -> Placement:
        copies = {buffer.key: Lifetime(buffer.nbytes, buffer.first, buffer.last) for buffer in buffers}
        arenas = [
            {("map", root): need for root, need in self.needs.items() if (root in fast) == quick} for quick in (0, 1)
        ]
        arenas[self._has_fast] |= {("copy", key): need for key, need in copies.items()}
        plans = [plan_arena(list(arena.values())) for arena in arenas]
        offsets = {
            key: (region, at)
            for region, arena, plan in zip((SCRATCH, FAST), arenas, plans, strict=True)
            for key, at in zip(arena, plan.offsets, strict=True)
        }
        where = {root: offsets["map", root] for root in self.needs}
        where |= {root: (region, 0) for root, region in self._regions.items()}
        places = {index: self._slice(index, *where[root]) for index, root in self.roots.items() if root in where}
        return Placement(places, {key: offsets["copy", key][1] for key in copies}, plans[0].nbytes, plans[1].nbytes)

    def _slice(self, index: int, region: int, begin: int) -> Place:
        """A map in the memory of its root, which begins at an address."""
        target, channel = self._parts.get(index, (index, 0))
        whole = self._network.maps[target]
        bricks = self.roots[index] not in self._regions and target not in self._plain
        skip = channel * (whole.shape[1] if bricks else 1) * np.dtype(whole.dtype).itemsize
        return Place(region, begin + skip, bricks, whole.shape[2])


def _bytes(network: Network, index: int, bricks: bool) -> int:
    source = network.maps[index]
    height, width, depth = source.shape
    depth = -(-depth // BRICK) * BRICK if bricks else depth
    return height * width * depth * np.dtype(source.dtype).itemsize
