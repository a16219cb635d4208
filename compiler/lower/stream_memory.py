"""What the compilers of command streams share about memory: regions, maps that share their bytes, lifetimes."""

from __future__ import annotations

from collections.abc import Mapping

from tilewright.errors import Problem, UnsupportedError
from tilewright.integer.network import Network, View

WEIGHTS, SCRATCH, FIRST = 0, 1, 2
"""Regions: the base pointers that a driver sets. From FIRST on inputs, then outputs, unless there is more scratch
memory."""

REGIONS = 8


def outer_regions(network: Network, first: int = FIRST) -> dict[int, int]:
    """The region of each input and output.

    Args:
        first: that of the first input.

    Raises:
        UnsupportedError: more inputs and outputs than there are regions.
    """
    outside = [*network.inputs, *network.outputs]
    if first + len(outside) > REGIONS:
        reason = f"{len(outside)} tensors go in or out, and base pointers suffice for {REGIONS - first}"
        raise UnsupportedError("The network is cut into parts that the NNA cannot take", [Problem("", reason)])
    return {index: first + number for number, index in enumerate(outside)}


def shared(network: Network) -> dict[int, int]:
    """For each map the one whose memory it shares: views share theirs, best that of an input or output.

    Raises:
        UnsupportedError: a view of an input is an output.
    """
    outside = {*network.inputs, *network.outputs}
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


def lifetimes(network: Network, roots: Mapping[int, int]) -> dict[int, tuple[int, int]]:
    """The first and the last operation that needs the memory of each root, in the order of first use."""
    found: dict[int, tuple[int, int]] = {}
    for number, operation in enumerate(network.operations):
        for index in (*operation.sources, operation.target):
            root = roots[index]
            found[root] = (found[root][0] if root in found else number, number)
    return found
