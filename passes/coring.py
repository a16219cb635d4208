"""Sets small weights to zero, for good: magnitude pruning, unstructured or in a layout's structure.

Thresholds are absolute, or come from a density: the share of weights to keep, in each layer or over all layers
together. PowerVR's tools call this coring; see Han et al., "Learning both Weights and Connections" (arXiv:1506.02626).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import onnx_ir as ir

from tilewright.errors import RecipeError
from tilewright.formats.base import Layout
from tilewright.passes.coupling import couple
from tilewright.passes.weights import Array, Weight, check_finite, spaces_by_value, weights_of


@dataclass(frozen=True)
class Rule:
    """How one weight is cored: give exactly one of ``density`` and ``threshold``.

    Attributes:
        density: share of weights to keep, in (0, 1].
        threshold: weights of a smaller magnitude become zero.
        layout: structure of what is kept (needs ``density``); None is unstructured.
    """

    density: float | None = None
    threshold: float | None = None
    layout: Layout | None = None

    def __post_init__(self) -> None:
        if (self.density is None) == (self.threshold is None):
            raise RecipeError("coring needs either a density or a threshold")
        if self.density is not None and not 0 < self.density <= 1:
            raise RecipeError(f"density is {self.density}; it lies in (0, 1]")
        if self.threshold is not None and not self.threshold >= 0:
            raise RecipeError(f"threshold is {self.threshold}; it must not be negative")
        if self.layout is not None and self.density is None:
            raise RecipeError(f"{self.layout.spec} needs a density, not a threshold")


@dataclass(frozen=True)
class CoredLayer:
    """What coring did to one weight.

    Attributes:
        density: share of weights that are not zero now.
        kept: share of the magnitude (sum of |w|) that is left.
    """

    layer: str
    layout: str
    density: float
    kept: float


class Coring(ir.passes.InPlacePass):
    """Cores the weights of a normalised model.

    Attributes:
        layers: filled by the pass, in graph order.
    """

    def __init__(self, rule: Callable[[Weight], Rule | None], scope: Literal["layer", "global"] = "layer") -> None:
        """
        Args:
            rule: how to core a weight, or None to leave it.
            scope: "global" takes the densities of unstructured rules as one, over the weights of all their layers.

        Raises:
            RecipeError: a global rule with a layout, or with different densities.
        """
        super().__init__()
        self.rule = rule
        self.scope = scope
        self.layers: list[CoredLayer] = []

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        along = spaces_by_value(couple(model.graph))
        ruled = [(weight, self.rule(weight)) for weight in weights_of(model.graph, along)]
        work = [(weight, rule) for weight, rule in ruled if rule is not None]
        check_finite([weight for weight, _ in work], "weights cannot be cored")
        if self.scope == "global":
            work = _with_global_threshold(work)
        for weight, rule in work:
            matrix = weight.matrix
            mask = _mask(matrix, rule)
            weight.store(np.where(mask, matrix, np.float32(0)))
            self.layers.append(
                CoredLayer(
                    weight.layer,
                    rule.layout.spec if rule.layout else "unstructured",
                    float((mask & (matrix != 0)).mean()),
                    _share(matrix, mask),
                )
            )
        return ir.passes.PassResult(model, bool(work))


def _with_global_threshold(work: list[tuple[Weight, Rule]]) -> list[tuple[Weight, Rule]]:
    """The same weights, all with the threshold that keeps the wanted share of them together."""
    wanted = {rule.density for _, rule in work}
    if not work:
        return work
    if len(wanted) != 1 or None in wanted or any(rule.layout is not None for _, rule in work):
        raise RecipeError("global coring needs one density for all its layers and no layout")
    magnitudes = np.concatenate([np.abs(weight.matrix).ravel() for weight, _ in work])
    (density,) = wanted
    assert density is not None
    kept = max(1, round(density * magnitudes.size))
    threshold = float(np.partition(magnitudes, -kept)[-kept])
    return [(weight, Rule(threshold=threshold)) for weight, _ in work]


def _mask(matrix: Array, rule: Rule) -> Array:
    if rule.threshold is not None:
        return np.abs(matrix) >= rule.threshold
    assert rule.density is not None
    if rule.layout is not None:
        return rule.layout.prune(matrix, rule.density)
    # Exactly so many, ties included: the order of equal magnitudes decides.
    order = np.argsort(-np.abs(matrix), axis=None, kind="stable")
    mask = np.zeros(matrix.size, bool)
    mask[order[: max(1, round(rule.density * matrix.size))]] = True
    return mask.reshape(matrix.shape)


def _share(matrix: Array, mask: Array) -> float:
    total = float(np.abs(matrix).sum(dtype=np.float64))
    return float(np.abs(matrix[mask]).sum(dtype=np.float64)) / total if total else 1.0
