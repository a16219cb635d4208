"""Chooses the integers of quantized weights by what they do to a layer's output, without labels or training.

Nearest rounding minimises |W - W_q|; what counts is |W x - W_q x|^2 over the inputs x that a layer sees, as in AdaRound
(Nagel et al. 2020, arXiv:2004.10568). It is minimised here as GPTQ does (Frantar et al. 2022, arXiv:2210.17323):
column after column is rounded, and the error that a column makes is compensated by those not rounded yet, through the
inverse of E[x x^T]. That needs one Cholesky factorisation instead of a gradient search. Coordinate descent (as in
QuantEase, Behdin et al. 2023, arXiv:2309.01885) then improves the better of this and nearest rounding, row by row, and
can only get better. Scales stay as the codec chose them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from tilewright.formats.codecs.integer import Integer
from tilewright.formats.packed import PackedWeight
from tilewright.passes.activation_plan import Fallback
from tilewright.passes.execution import Feed
from tilewright.passes.layer_inputs import moments, obstacle
from tilewright.passes.weight_grid import WeightGrid
from tilewright.passes.weights import Weight, weights_in

Array = npt.NDArray[Any]

_BLOCK = 128  # columns whose compensation of all later ones is one matrix product
_DAMPING = 0.01  # of the mean diagonal, at least; added to it
_WIDE = 4096  # columns from which float32 has to do
_SWEEPS = 2  # over all columns
_TINY = 1e-30


@dataclass(frozen=True)
class RoundedLayer:
    """One layer.

    Attributes:
        nearest, rounded: |W x - W_q x|^2 / |W x|^2 over the sampled inputs, before and after.
        changed: share of the weights that are not rounded to the nearest integer.
    """

    layer: str
    nearest: float
    rounded: float
    changed: float


@dataclass(frozen=True)
class Rounding:
    """Attributes:
    packed: by name of the weight, as given, with other integers where that is better.
    layers: what was done, in graph order.
    fallbacks: weights that keep nearest rounding, and why.
    shifts: what is to be added to the output channels of layers, by layer, where biases were corrected as well.
    """

    packed: Mapping[str, PackedWeight]
    layers: tuple[RoundedLayer, ...]
    fallbacks: tuple[Fallback, ...]
    shifts: Mapping[str, Array] = field(default_factory=dict)


def round_weights(model: ir.Model, packed: Mapping[str, PackedWeight], feeds: Sequence[Feed]) -> Rounding:
    """Rounds weights of a normalised float model anew.

    Args:
        model: left unchanged; its weights are what was packed.
        packed: by name of the weight.
        feeds: calibration data, at least one.

    Raises:
        ModelError: onnxruntime cannot run the model.
    """
    work, fallbacks = workable(model, packed)
    result, layers = dict(packed), []
    for weight, moment, samples in moments(model, work, feeds):
        name = weight.value.name or ""
        result[name], layer = _round(weight, packed[name], moment, samples)
        layers.append(layer)
    return Rounding(result, tuple(layers), fallbacks)


def workable(model: ir.Model, packed: Mapping[str, PackedWeight]) -> tuple[list[Weight], tuple[Fallback, ...]]:
    """The packed weights whose integers can be chosen, in graph order, and reasons for the others."""
    work, fallbacks = [], []
    for weight in weights_in(model.graph):
        given = packed.get(weight.value.name or "")
        if given is None:
            continue
        reason = obstacle(weight, model)
        if not isinstance(given.format.codec, Integer):
            reason = f"{given.format.codec.spec} has no integers to choose"
        if reason:
            fallbacks.append(Fallback(weight.layer, f"nearest rounding: {reason}"))
        else:
            work.append(weight)
    return work, tuple(fallbacks)


def _round(weight: Weight, packed: PackedWeight, moment: Array, samples: int) -> tuple[PackedWeight, RoundedLayer]:
    grid = WeightGrid(weight, packed)
    wanted, nearest, scale = grid.wanted, grid.nearest, grid.scale
    chosen = choose(wanted, nearest, scale, grid.low, grid.high, shrunk(moment, samples))
    best = _better(wanted, nearest, chosen, scale, moment)
    before, after = (energies(wanted - integers * scale, moment) for integers in (nearest, best))
    total = float(energies(wanted, moment).sum()) or 1.0
    layer = RoundedLayer(
        weight.layer,
        float(before.sum()) / total,
        float(after.sum()) / total,
        float((best != nearest).mean()),
    )
    return grid.packed(best), layer


def shrunk(moment: Array, samples: int) -> Array:
    """Moments towards the identity, the more the fewer samples there are for each column.

    Few samples leave directions in which errors seem free; rounding would pile them up there. With one sample a column
    the identity, which means nearest rounding, counts as much as what was seen.
    """
    columns = moment.shape[1]
    mean = np.diagonal(moment, axis1=1, axis2=2).mean(axis=1, dtype=np.float64)
    damping = max(_DAMPING, columns / samples) * np.maximum(mean, 1e-12)
    shrunk: Array = moment + damping[:, None, None].astype(moment.dtype) * np.eye(columns, dtype=moment.dtype)
    return shrunk


def choose(wanted: Array, nearest: Array, scale: Array, low: Array, high: Array, moment: Array) -> Array:
    """Integers that are at least as good as ``nearest`` in every row; parameters as for ``gptq``."""
    start = _better(wanted, nearest, gptq(wanted, scale, low, high, moment), scale, moment)
    return _better(wanted, nearest, descend(wanted, start, scale, low, high, moment), scale, moment)


def _better(wanted: Array, first: Array, second: Array, scale: Array, moment: Array) -> Array:
    """The better of two choices of each row; the first where they are equal."""
    errors = [energies(wanted - integers * scale, moment) for integers in (first, second)]
    return np.where((errors[1] < errors[0])[:, :, None], second, first)


def gptq(wanted: Array, scale: Array, low: Array, high: Array, moment: Array) -> Array:
    """Integers q for which q * scale does what ``wanted`` does.

    Args:
        wanted: float32 [groups, rows, columns].
        scale: of the same shape; where it is 0, q is 0.
        low, high: of the same shape, limits of q.
        moment: [groups, columns, columns], E[x x^T].

    Returns:
        float32 of the shape of ``wanted``.
    """
    columns = wanted.shape[2]
    order = np.argsort(-np.diagonal(moment, axis1=1, axis2=2), axis=1, kind="stable")
    upper = _inverse_root(np.take_along_axis(np.take_along_axis(moment, order[:, :, None], 1), order[:, None, :], 2))
    along = order[:, None, :]
    work, scale, low, high = (np.take_along_axis(part, along, 2) for part in (wanted, scale, low, high))
    work = work.astype(upper.dtype)
    usable = np.abs(scale) > _TINY
    inverse = np.where(usable, 1 / np.where(usable, scale, 1), 0)
    q = np.zeros_like(scale)
    for first in range(0, columns, _BLOCK):
        block = slice(first, min(first + _BLOCK, columns))
        errors = np.zeros((*work.shape[:2], block.stop - first), upper.dtype)
        for place in range(first, block.stop):
            column = np.rint(work[:, :, place] * inverse[:, :, place])
            q[:, :, place] = np.clip(column, low[:, :, place], high[:, :, place]) * usable[:, :, place]
            left = work[:, :, place] - q[:, :, place] * scale[:, :, place]
            error = left / upper[:, None, place, place]
            errors[:, :, place - first] = error
            work[:, :, place + 1 : block.stop] -= error[:, :, None] * upper[:, None, place, place + 1 : block.stop]
        work[:, :, block.stop :] -= np.matmul(errors, upper[:, block, block.stop :])
    result = np.empty_like(q)
    np.put_along_axis(result, np.broadcast_to(along, q.shape), q, 2)
    return result


def descend(wanted: Array, start: Array, scale: Array, low: Array, high: Array, moment: Array) -> Array:
    """Gives each column in turn the integers that suit all others best; parameters as for ``gptq``."""
    q = start.copy()
    curvature = np.diagonal(moment, axis1=1, axis2=2)
    usable = (np.abs(scale) > _TINY) & (curvature > _TINY)[:, None, :]
    step = np.where(usable, scale * curvature[:, None, :], 1)
    slope = np.matmul(wanted - q * scale, moment)  # of the error towards greater integers, times -1 / 2 scale
    for first in [*range(0, q.shape[2], _BLOCK)] * _SWEEPS:
        block = slice(first, min(first + _BLOCK, q.shape[2]))
        local, within = slope[:, :, block].copy(), moment[:, block, block]
        moves = np.zeros_like(local)
        for place in range(block.stop - first):
            column = first + place
            target = np.rint(q[:, :, column] + local[:, :, place] / step[:, :, column])
            target = np.clip(target, low[:, :, column], high[:, :, column])
            move = np.where(usable[:, :, column], target - q[:, :, column], 0)
            q[:, :, column] += move
            moves[:, :, place] = move * scale[:, :, column]
            local -= moves[:, :, place, None] * within[:, None, place]
        slope -= np.matmul(moves, moment[:, block])
    return q


def _inverse_root(moment: Array) -> Array:
    """Upper triangular U with U^T U = moment^-1; a little is added to the diagonal where that needs it."""
    kind = np.float32 if moment.shape[1] > _WIDE else np.float64
    mean = np.maximum(np.diagonal(moment, axis1=1, axis2=2).mean(axis=1, dtype=np.float64), 1e-12)
    eye = np.eye(moment.shape[1], dtype=kind)
    damping = 1e-6
    while True:
        try:
            inverse = np.linalg.inv(moment.astype(kind) + (damping * mean)[:, None, None].astype(kind) * eye)
            root: Array = np.linalg.cholesky((inverse + inverse.transpose(0, 2, 1)) / 2)
            return root.transpose(0, 2, 1)
        except np.linalg.LinAlgError:  # rounding made it indefinite
            damping *= 10


def energies(difference: Array, moment: Array) -> Array:
    """E[(difference x)^2] of every row, float64 [groups, rows]."""
    found: Array = np.einsum("grk,grk->gr", np.matmul(difference, moment), difference, dtype=np.float64)
    return found
