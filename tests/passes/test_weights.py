"""The common view of weights: rows, columns and taps of every kind of layer, and writing them back."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from tests.passes.test_coupling import network, prepared
from tilewright.passes.coupling import couple
from tilewright.passes.weights import Weight, spaces_by_value, weights_of


@pytest.fixture
def weights() -> dict[str, Weight]:
    graph = prepared(network()).graph
    return {weight.layer: weight for weight in weights_of(graph, spaces_by_value(couple(graph)))}


def test_dense_weights_are_found_in_order(weights: dict[str, Weight]) -> None:
    assert list(weights) == ["c1", "c2", "c3", "c4", "fc", "last"]  # not the depthwise convolution


def test_taps(weights: dict[str, Weight]) -> None:
    shapes = {layer: weight.taps.shape for layer, weight in weights.items()}
    assert shapes == {
        **{"c1": (9, 8, 3), "c2": (9, 8, 8), "c3": (1, 5, 8), "c4": (1, 6, 13)},
        **{"fc": (16, 12, 6), "last": (1, 7, 12)},  # fc follows a flatten of 4x4 positions
    }


def test_elements_are_where_the_layer_has_them(weights: dict[str, Weight]) -> None:
    def array(layer: str) -> np.ndarray:
        constant = weights[layer].value.const_value
        assert constant is not None
        return constant.numpy()

    assert weights["c2"].taps[5, 2, 7] == array("c2")[2, 7, 1, 2]
    assert weights["fc"].taps[3, 2, 4] == array("fc")[2, 4 * 16 + 3]
    assert weights["last"].taps[0, 5, 11] == array("last")[11, 5]
    assert weights["c2"].matrix[2, 5 * 8 + 7] == array("c2")[2, 7, 1, 2]


def test_store_is_the_inverse_of_matrix(weights: dict[str, Weight]) -> None:
    for weight in weights.values():
        constant = weight.value.const_value
        assert constant is not None
        before = constant.numpy().copy()
        weight.store(weight.matrix)
        np.testing.assert_array_equal(weight.value.const_value.numpy(), before)
        weight.store(weight.matrix * 2)
        np.testing.assert_array_equal(weight.value.const_value.numpy(), before * 2)


def test_other_types_are_left_out() -> None:
    graph = prepared(network()).graph
    for value in graph.initializers.values():
        assert value.const_value is not None
        value.const_value = ir.tensor(value.const_value.numpy().astype("float64"), name=value.name)
    assert list(weights_of(graph)) == []
