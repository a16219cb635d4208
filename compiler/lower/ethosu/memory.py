"""Where feature maps and copied weights lie: inputs and outputs in regions of their own, all else in scratch memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tilewright.errors import Problem, UnsupportedError
from tilewright.integer.network import Network, View
from tilewright.lower.arena import Lifetime, plan_arena

WEIGHTS, SCRATCH, FIRST = 0, 1, 2
"""Regions: the base pointers that a driver sets. From FIRST on inputs, then outputs."""

REGIONS = 8
BRICK = 16


@dataclass(frozen=True)
class Place:
    """Where a map lies.

    Attributes:
        bricks: NHCWB16 (blocks of 16 channels), else NHWC.
    """

    region: int
    address: int
    bricks: bool


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
        UnsupportedError: more inputs and outputs than there are regions.
    """
    outside = [*network.inputs, *network.outputs]
    if FIRST + len(outside) > REGIONS:
        reason = f"{len(outside)} tensors go in or out, and base pointers suffice for {REGIONS - FIRST}"
        raise UnsupportedError("The network is cut into parts that the NNA cannot take", [Problem("", reason)])
    regions = {index: FIRST + number for number, index in enumerate(outside)}
    roots = _roots(network, set(outside))
    viewed = {index for operation in network.operations if isinstance(operation, View) for index in
              (operation.source, operation.target)}  # fmt: skip
    first: dict[int, int] = {}
    last: dict[int, int] = {}
    for number, operation in enumerate(network.operations):
        for index in (*operation.sources, operation.target):
            first.setdefault(roots[index], number)
            last[roots[index]] = number
    inner = [root for root in first if root not in regions]
    sizes = {root: _bytes(network, root, root not in viewed) for root in inner}
    lifetimes = [Lifetime(sizes[root], first[root], last[root]) for root in inner]
    lifetimes += [Lifetime(buffer.nbytes, buffer.first, buffer.last) for buffer in buffers]
    arena = plan_arena(lifetimes)
    offsets = dict(zip(inner, arena.offsets[: len(inner)], strict=True))
    addresses = {buffer.key: at for buffer, at in zip(buffers, arena.offsets[len(inner) :], strict=True)}
    places = {}
    for index, root in roots.items():
        if root in regions:
            places[index] = Place(regions[root], 0, False)
        elif root in offsets:
            places[index] = Place(SCRATCH, offsets[root], index not in viewed)
    return Placement(places, addresses, arena.nbytes)


def _roots(network: Network, outside: set[int]) -> dict[int, int]:
    """For each map the one whose memory it shares: views share theirs, best that of an input or output."""
    roots = {index: index for index in range(len(network.maps))}
    for operation in network.operations:
        if isinstance(operation, View):
            source, target = roots[operation.source], roots[operation.target]
            if source in outside and target in outside:
                reason = f"'{operation.layer}' only renames an input as an output"
                raise UnsupportedError("A part of the network has nothing to compute", [Problem("", reason)])
            keep, drop = (target, source) if target in outside else (source, target)
            roots = {index: keep if root == drop else root for index, root in roots.items()}
    return roots


def _bytes(network: Network, index: int, bricks: bool) -> int:
    source = network.maps[index]
    height, width, depth = source.shape
    depth = -(-depth // BRICK) * BRICK if bricks else depth
    return height * width * depth * np.dtype(source.dtype).itemsize
