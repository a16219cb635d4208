"""Where feature maps lie: inputs and outputs as hosts hold them, all else packed at its depth in scratch memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tilewright.integer.network import Network
from tilewright.lower.arena import Lifetime, plan_arena
from tilewright.lower.stream_memory import SCRATCH, lifetimes, outer_regions, shared


@dataclass(frozen=True)
class Place:
    """Where a map lies, and whether without padding."""

    region: int
    address: int
    packed: bool


@dataclass(frozen=True)
class Placement:
    """Places by map, and the bytes of scratch memory."""

    places: Mapping[int, Place]
    scratch_bytes: int


def place(network: Network) -> Placement:
    """Places every map that an operation uses.

    Raises:
        UnsupportedError: more inputs and outputs than there are regions, or a view of an input is an output.
    """
    regions, roots = outer_regions(network), shared(network)
    spans = lifetimes(network, roots)
    inner = [root for root in spans if root not in regions]
    arena = plan_arena([Lifetime(network.maps[root].packed_bytes, *spans[root]) for root in inner])
    offsets = dict(zip(inner, arena.offsets, strict=True))
    places = {}
    for index, root in roots.items():
        if root in regions:
            places[index] = Place(regions[root], 0, False)
        elif root in offsets:
            places[index] = Place(SCRATCH, offsets[root], True)
    return Placement(places, arena.nbytes)
