"""Where feature maps and copied weights lie: inputs and outputs in regions of their own, all else in scratch memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tilewright.integer.network import Network, View
from tilewright.lower.arena import Lifetime, plan_arena
from tilewright.lower.ethosu.moves import BRICK, in_bricks, slices
from tilewright.lower.stream_memory import SCRATCH, WEIGHTS, lifetimes, outer_regions, shared

__all__ = ["SCRATCH", "WEIGHTS", "Buffer", "Place", "Placement", "place"]


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
    """Places by map, addresses of buffers in scratch memory by key, and the bytes of scratch memory."""

    places: Mapping[int, Place]
    buffers: Mapping[int, int]
    scratch_bytes: int


def place(network: Network, buffers: Sequence[Buffer] = ()) -> Placement:
    """Places every map and buffer.

    Raises:
        UnsupportedError: more inputs and outputs than there are regions, or a view of an input is an output.
    """
    regions, roots, parts = outer_regions(network), shared(network), slices(network)
    plain = {index for operation in network.operations if isinstance(operation, View) for index in
             (operation.source, operation.target)}  # fmt: skip
    plain |= {target for target, _ in parts.values()} - in_bricks(parts)
    roots |= {part: roots[target] for part, (target, _) in parts.items()}
    spans = lifetimes(network, roots)
    inner = [root for root in spans if root not in regions]
    sizes = {root: _bytes(network, root, root not in plain) for root in inner}
    needs = [Lifetime(sizes[root], *spans[root]) for root in inner]
    needs += [Lifetime(buffer.nbytes, buffer.first, buffer.last) for buffer in buffers]
    arena = plan_arena(needs)
    offsets = dict(zip(inner, arena.offsets[: len(inner)], strict=True))
    addresses = {buffer.key: at for buffer, at in zip(buffers, arena.offsets[len(inner) :], strict=True)}
    places = {}
    for index, root in roots.items():
        target, begin = parts.get(index, (index, 0))
        whole = network.maps[target]
        bricks = root in offsets and target not in plain
        skip = begin * (whole.shape[1] if bricks else 1) * np.dtype(whole.dtype).itemsize
        if root in regions or root in offsets:
            places[index] = Place(regions.get(root, SCRATCH), offsets.get(root, 0) + skip, bricks, whole.shape[2])
    return Placement(places, addresses, arena.nbytes)


def _bytes(network: Network, index: int, bricks: bool) -> int:
    source = network.maps[index]
    height, width, depth = source.shape
    depth = -(-depth // BRICK) * BRICK if bricks else depth
    return height * width * depth * np.dtype(source.dtype).itemsize
