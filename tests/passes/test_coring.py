"""Coring: shares, structures and thresholds as asked; the rest of the network untouched."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from tests.passes.test_coupling import network, prepared, run
from tilewright.errors import DataError, RecipeError
from tilewright.formats.layouts.block_sparse import BlockSparse
from tilewright.formats.layouts.two_four import TwoFour
from tilewright.passes.coring import Coring, Rule
from tilewright.passes.weights import Weight, weights_of


def only(layer: str, rule: Rule) -> Coring:
    return Coring(lambda weight: rule if weight.layer == layer else None)


def matrix_of(model: ir.Model, layer: str) -> np.ndarray:
    return next(weight.matrix for weight in weights_of(model.graph) if weight.layer == layer)


@pytest.mark.parametrize("density", [0.01, 0.1, 0.5, 1.0])
def test_unstructured_keeps_the_largest(density: float) -> None:
    model = prepared(network())
    before = matrix_of(model, "c2")
    coring = only("c2", Rule(density=density))
    coring(model)
    after = matrix_of(model, "c2")
    kept = max(1, round(density * before.size))
    assert np.count_nonzero(after) == kept
    np.testing.assert_array_equal(after[after != 0], before[after != 0])
    assert np.abs(before[after == 0]).max(initial=0) <= np.abs(after[after != 0]).min()
    assert coring.layers[0].density == pytest.approx(kept / before.size)
    assert coring.layers[0].kept == pytest.approx(np.abs(after).sum() / np.abs(before).sum(), rel=1e-5)


def test_threshold() -> None:
    model = prepared(network())
    before = matrix_of(model, "c4")
    only("c4", Rule(threshold=0.3))(model)
    np.testing.assert_array_equal(matrix_of(model, "c4"), np.where(np.abs(before) >= 0.3, before, 0))


@pytest.mark.parametrize("layout", [BlockSparse(4, 4), BlockSparse(8, 1), TwoFour()])
def test_layouts_take_what_is_left(layout: BlockSparse | TwoFour) -> None:
    model = prepared(network())
    only("c2", Rule(density=0.5, layout=layout))(model)
    matrix = matrix_of(model, "c2")
    np.testing.assert_array_equal(layout.unpack(layout.pack(matrix)), matrix)
    assert 0 < np.count_nonzero(matrix) <= 0.51 * matrix.size


def test_global_density_is_met_over_all_layers() -> None:
    model = prepared(network())
    coring = Coring(lambda weight: Rule(density=0.2), scope="global")
    coring(model)
    weights = list(weights_of(model.graph))
    total = sum(weight.matrix.size for weight in weights)
    kept = sum(int(np.count_nonzero(weight.matrix)) for weight in weights)
    assert kept == pytest.approx(0.2 * total, abs=len(weights))  # equal magnitudes may tie
    assert len({round(layer.density, 3) for layer in coring.layers}) > 1  # layers differ in what they can spare


def test_the_model_still_runs_and_other_layers_stay() -> None:
    model = prepared(network())
    before = matrix_of(model, "c1")
    only("c2", Rule(density=0.1))(model)
    np.testing.assert_array_equal(matrix_of(model, "c1"), before)
    assert all(np.isfinite(output).all() for output in run(model))


def test_not_a_number_names_the_layers() -> None:
    model = prepared(network())
    for weight in weights_of(model.graph):
        if weight.layer in ("c2", "fc"):
            weight.store(np.full_like(weight.matrix, np.nan))
    with pytest.raises(DataError, match=r"c2(.|\n)*fc"):
        Coring(lambda weight: Rule(density=0.5))(model)


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"density": 0.5, "threshold": 0.1},
        {"density": 0.0},
        {"density": 1.5},
        {"density": float("nan")},
        {"threshold": -1.0},
        {"threshold": 0.1, "layout": BlockSparse(4, 4)},
    ],
)
def test_wrong_rules(arguments: dict[str, object]) -> None:
    with pytest.raises(RecipeError):
        Rule(**arguments)  # type: ignore[arg-type]


def test_wrong_global_rules() -> None:
    def differing(weight: Weight) -> Rule:
        return Rule(density=0.5 if weight.layer == "c1" else 0.2)

    with pytest.raises(RecipeError, match="one density"):
        Coring(differing, scope="global")(prepared(network()))
