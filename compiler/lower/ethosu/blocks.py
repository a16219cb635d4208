"""Block sizes: of those that fit into the accelerator's memory one that is estimated to take the fewest cycles."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace

from tilewright.lower.ethosu.estimate import Cost, Model
from tilewright.lower.ethosu.jobs import Kernel, Shape

_MOST = (32, 64, 128)
_SPLIT = 16  # blocks that split the channels split them at multiples of this
_NEAR = 1.01


@dataclass(frozen=True)
class Candidate:
    """A block, what it costs, and how many there are."""

    block: Shape
    cost: Cost
    count: int


def choose_block(job: Kernel, model: Model) -> Candidate:
    """The block of the fewest cycles. Estimates are no better than that: of those within 1 % the largest one.

    Args:
        job: the operation with any block.
    """
    found = [
        Candidate(block, cost, count)
        for block, count in _blocks(job.ofm.shape, model.unit)
        if (cost := model.try_kernel(replace(job, block=block))) is not None
    ]
    least = min(candidate.cost.busy for candidate in found)
    near = [candidate for candidate in found if candidate.cost.busy <= _NEAR * least]
    return min(near, key=lambda candidate: (candidate.count, candidate.cost.external + candidate.cost.sram))


def _blocks(shape: Shape, unit: Shape) -> Iterator[tuple[Shape, int]]:
    """Blocks and their number; of sizes that give the same number along an axis, only the least."""
    axes = []
    for axis, (length, step, most) in enumerate(zip(shape, unit, _MOST, strict=True)):
        sizes: dict[int, int] = {}
        for size in range(step, min(most, -(-length // step) * step) + 1, step):
            if axis < 2 or size >= length or size % _SPLIT == 0:
                sizes.setdefault(-(-length // size), size)
        axes.append(sizes)
    for (rows, height), (columns, width), (layers, depth) in itertools.product(*(axis.items() for axis in axes)):
        yield (height, width, depth), rows * columns * layers
