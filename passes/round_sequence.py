"""Rounds one layer after another, each by what those before it have become.

As round_weights.py, but x is not what the float network has. With x for a layer's input in the float network and y for
the same input where all layers before it are rounded already, |W x - W_q y|^2 is minimised, so that a layer makes up
for what came before (GPTAQ, Li et al. 2025, arXiv:2504.02692). Completing the square turns that into the problem of
round_weights.py, with

    E[y y^T] + d for E[x x^T]   and   W (E[x y^T] + d) (E[y y^T] + d)^-1 for W,

d being its damping. Where biases are corrected as well, they take the error's mean, and covariances stand for moments.
Scales of channels are fitted to the integers then (least squares, in closed form), and integers to these, in turns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from tilewright.formats.packed import PackedWeight, unpack
from tilewright.passes.correct_bias import shift_bias
from tilewright.passes.execution import Feed
from tilewright.passes.layer_inputs import ALIKE, positions, rows_of
from tilewright.passes.parts import advance, crossing, reads
from tilewright.passes.round_weights import RoundedLayer, Rounding, choose, descend, energies, shrunk, workable
from tilewright.passes.weight_grid import WeightGrid
from tilewright.passes.weights import Weight, weights_in

Array = npt.NDArray[Any]

_FITS = 2  # rounds of scales and integers


def round_in_sequence(
    model: ir.Model, packed: Mapping[str, PackedWeight], feeds: Sequence[Feed], correct: bool = True
) -> Rounding:
    """Rounds weights of a normalised float model anew, in graph order.

    Every value that a later layer needs is kept for all feeds, twice.

    Args:
        model: left unchanged; its weights are what was packed.
        packed: by name of the weight.
        feeds: calibration data, at least one.
        correct: biases are corrected as well: ``shifts`` of what is returned.

    Raises:
        ModelError: onnxruntime cannot run the model.
    """
    work, fallbacks = workable(model, packed)
    rounded = model.clone()
    for weight in weights_in(rounded.graph):
        given = packed.get(weight.value.name or "")
        if given is not None:
            weight.store(unpack(given))
    targets = {weight.value.name: weight for weight in weights_in(rounded.graph)}
    nodes = list(model.graph)
    read_by = [reads(node) for node in nodes]
    first = {weight: min(at for at, read in enumerate(read_by) if weight.value in read) for weight in work}
    result, layers, shifts = dict(packed), [], {}
    before, after = list(feeds), list(feeds)
    for weight in sorted(work, key=first.__getitem__):
        name, wanted = weight.value.name or "", crossing(model.graph, nodes, read_by, first[weight], [])
        before, after = advance(model, before, wanted), advance(rounded, after, wanted)
        users = [use.node for use in weight.value.uses()]
        seen = _Moments(weight, users, before, after, correct and len(users) == 1)
        result[name], layer = _round(weight, packed[name], seen)
        layers.append(layer)
        targets[name].store(unpack(result[name]))
        if seen.centred:
            shifts[weight.layer] = seen.shift(unpack(result[name]))
            node = next(iter(targets[name].value.uses())).node
            shift_bias(rounded.graph, node, shifts[weight.layer])
    return Rounding(result, tuple(layers), fallbacks, shifts)


class _Moments:
    """What a weight sees: E[y y^T] and E[x y^T], float32 [groups, columns, columns], or covariances where centred.

    Attributes:
        samples: independent ones, as layer_inputs.py counts them.
        inputs, means: E[x] and E[y], float64 [groups, columns].
    """

    def __init__(
        self, weight: Weight, users: Sequence[ir.Node], before: Sequence[Feed], after: Sequence[Feed], centred: bool
    ) -> None:
        self.weight, self.centred, self.samples = weight, centred, 0
        count, share = 0, positions(weight, len(before))
        sums: list[Any] = [0, 0, 0, 0]
        for number, feeds in enumerate(zip(before, after, strict=True)):
            for node in users:
                name = node.inputs[0].name or ""  # type: ignore[union-attr]
                x, y = (
                    rows_of(node, weight, np.asarray(feed[name]), share, np.random.default_rng(number))
                    for feed in feeds
                )
                turned = y.transpose(0, 2, 1)
                parts = np.matmul(turned, y), np.matmul(turned, x), x.sum(1, np.float64), y.sum(1, np.float64)
                sums = [total + part for total, part in zip(sums, parts, strict=True)]
                count += x.shape[1]
                self.samples += min(x.shape[1], ALIKE)
        self.own, self.cross, self.inputs, self.means = (total / count for total in sums)
        if centred:
            self.own -= (self.means[:, :, None] * self.means[:, None, :]).astype(np.float32)
            self.cross -= (self.means[:, :, None] * self.inputs[:, None, :]).astype(np.float32)
        damped = shrunk(self.own, self.samples)
        self.cross += damped - self.own
        self.own = damped

    def goal(self, wanted: Array) -> Array:
        """What to round instead of a weight, float32 [groups, rows, columns]."""
        solved = np.linalg.solve(self.own.astype(np.float64), self.cross.astype(np.float64))
        goal: Array = np.matmul(wanted, solved.transpose(0, 2, 1)).astype(np.float32)
        return goal

    def shift(self, matrix: Array) -> Array:
        """E[W x - W_q y] of every output channel, float64."""
        groups = len(self.means)
        old, new = (part.reshape(groups, -1, part.shape[1]) for part in (self.weight.matrix, matrix))
        difference: Array = np.einsum("grk,gk->gr", old, self.inputs) - np.einsum("grk,gk->gr", new, self.means)
        return difference.ravel()


def _round(weight: Weight, packed: PackedWeight, seen: _Moments) -> tuple[PackedWeight, RoundedLayer]:
    grid = WeightGrid(weight, packed)
    goal, scale = seen.goal(grid.wanted), grid.scale
    start = np.clip(np.rint(goal / np.where(scale, scale, 1)), grid.low, grid.high) * (scale != 0)
    q = choose(goal, start, scale, grid.low, grid.high, seen.own)
    before = energies(goal - grid.nearest * scale, seen.own)
    scales = None
    for _ in range(_FITS if grid.scalable else 0):
        fitted = _fitted(goal, q, scale, seen.own)
        scales, scale = fitted, np.broadcast_to(fitted[:, :, None], scale.shape)
        q = descend(goal, q, scale, grid.low, grid.high, seen.own)
    total = float(energies(goal, seen.own).sum()) or 1.0
    after = energies(goal - q * scale, seen.own)
    changed = float((q != grid.nearest).mean())
    layer = RoundedLayer(weight.layer, float(before.sum()) / total, float(after.sum()) / total, changed)
    return grid.packed(q, scales), layer


def _fitted(goal: Array, q: Array, scale: Array, moment: Array) -> Array:
    """The scales, float32 [groups, rows], with which integers come nearest; as they are where that makes none."""
    image = np.matmul(q, moment)
    inner = np.einsum("grk,grk->gr", image, q, dtype=np.float64)
    outer = np.einsum("grk,grk->gr", image, goal, dtype=np.float64)
    best = np.divide(outer, inner, out=np.zeros_like(outer), where=inner > 0)
    fitted: Array = np.where(best > 0, best, scale[:, :, 0]).astype(np.float32)
    return fitted
