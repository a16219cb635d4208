"""Permutes channels so that block pruning keeps more magnitude; the network's function stays as it is.

Matrix pivoting (see permutation_search.py) on a whole network: every weight, the largest first, chooses an order for
its input and output channels, within the freedom that the coupling graph leaves. No gather is put into the graph: an
order is absorbed by all tensors that share it, and where it is fixed from outside, that side of the weight stays.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from tilewright.passes.coupling import Space, couple
from tilewright.passes.permutation_search import pivot_blocks
from tilewright.passes.weights import Weight, spaces_by_value, weights_of


@dataclass(frozen=True)
class Blocks:
    """The pruning that a weight is pivoted for: blocks of ``bh`` x ``bw``, a share ``density`` of them kept."""

    bh: int
    bw: int
    density: float


@dataclass(frozen=True)
class PivotedLayer:
    """What pivoting did for one weight; magnitudes are shares of its sum of |w|.

    Attributes:
        unpivoted, pivoted, unstructured: magnitude kept by blocks before, by blocks after, and by free choice.
        fixed: why rows or columns could not move; empty if both could.
    """

    layer: str
    unpivoted: float
    pivoted: float
    unstructured: float
    fixed: tuple[str, ...]


class Pivot(ir.passes.InPlacePass):
    """Pivots the weights of a normalised model.

    Attributes:
        layers: filled by the pass, in graph order.
    """

    def __init__(self, rule: Callable[[Weight], Blocks | None], seed: int = 0) -> None:
        """
        Args:
            rule: the blocks that a weight will be pruned to, or None if it will not be.
            seed: of the random exchanges.
        """
        super().__init__()
        self.rule = rule
        self.seed = seed
        self.layers: list[PivotedLayer] = []

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        spaces = couple(model.graph)
        along = spaces_by_value(spaces)
        chosen = [(weight, self.rule(weight)) for weight in weights_of(model.graph, along)]
        work = [(weight, blocks) for weight, blocks in chosen if blocks is not None]
        decided: set[int] = set()  # indices of spaces whose order a larger weight has chosen
        before = {weight.layer: _kept(weight, blocks) for weight, blocks in work}
        reasons: dict[str, tuple[str, ...]] = {}
        for weight, blocks in sorted(work, key=lambda item: -item[0].taps.size):
            rows = _whole(weight, weight.rows_axis, along.get(weight.value, []))
            columns = _whole(weight, weight.columns_axis, along.get(weight.value, []))
            reasons[weight.layer] = tuple(
                f"{side}: {why}" for side, space in (("rows", rows), ("columns", columns)) if (why := _obstacle(space))
            )
            self._pivot(weight, blocks, rows, columns, decided, spaces)
        for weight, blocks in work:
            total = float(np.abs(weight.taps).sum(dtype=np.float64)) or 1.0
            magnitudes = np.sort(np.abs(weight.taps), axis=None)[::-1]
            free = float(magnitudes[: round(blocks.density * magnitudes.size)].sum(dtype=np.float64))
            after = _kept(weight, blocks)
            self.layers.append(
                PivotedLayer(
                    weight.layer, before[weight.layer] / total, after / total, free / total, reasons[weight.layer]
                )
            )
        return ir.passes.PassResult(model, bool(decided))

    def _pivot(
        self,
        weight: Weight,
        blocks: Blocks,
        rows: Space | None,
        columns: Space | None,
        decided: set[int],
        spaces: list[Space],
    ) -> None:
        movable = [
            space is not None and not space.fixed and spaces.index(space) not in decided for space in (rows, columns)
        ]
        if not any(movable) or rows is columns:
            return  # a square weight inside a residual loop shares one order for both sides
        pivot = pivot_blocks(
            weight.taps,
            (blocks.bh, blocks.bw),
            _blocks_per_row(weight, blocks),
            permute_rows=movable[0],
            permute_columns=movable[1],
            seed=self.seed,
        )
        for space, order, moves in ((rows, pivot.rows, movable[0]), (columns, pivot.columns, movable[1])):
            if space is not None and moves:
                space.permute(order)
                decided.add(spaces.index(space))


def _whole(weight: Weight, axis: int, spaces: list[Space]) -> Space | None:
    """The space that runs along the whole axis, or None: no space, or several behind one another (a concat)."""
    found = [
        space for space in spaces for member in space.members if member.value is weight.value and member.axis == axis
    ]
    return found[0] if len(found) == 1 else None


def _obstacle(space: Space | None) -> str:
    if space is None:
        return "given from outside, or joined from several orders"
    return space.fixed[0] if space.fixed else ""


def _blocks_per_row(weight: Weight, blocks: Blocks) -> int:
    taps, _, columns = weight.taps.shape
    return max(1, int(blocks.density * taps * -(-columns // blocks.bw) + 0.5))


def _kept(weight: Weight, blocks: Blocks) -> float:
    """Magnitude that the best balanced blocks keep in the present order."""
    fixed = pivot_blocks(
        weight.taps,
        (blocks.bh, blocks.bw),
        _blocks_per_row(weight, blocks),
        permute_rows=False,
        permute_columns=False,
        escapes=0,
    )
    return fixed.unpivoted
