"""The table of options: exact sizes, errors of one weight at a time, and what cannot be measured."""

from __future__ import annotations

import numpy as np
import pytest

from tests.passes.support import parse as onnx_text
from tests.passes.test_coupling import network, prepared
from tests.passes.test_deviation import FEEDS, changed, expected
from tilewright.errors import DataError, RecipeError
from tilewright.formats.packed import pack, unpack
from tilewright.formats.registry import Format, parse
from tilewright.passes.sensitivity import sensitivities
from tilewright.passes.weights import Weight

FORMATS = [parse(spec) for spec in ("int2", "int6(group=16)", "int4 entropy", "codebook(16)", "f32")]


def everywhere(weight: Weight) -> list[Format]:
    return FORMATS


def test_options_are_what_the_formats_make() -> None:
    model = prepared(network())
    heard: list[str] = []
    table = sensitivities(model, FEEDS, everywhere, observe=heard.append)
    assert table.measure == "outputs"
    assert heard == [layer.layer for layer in table.layers]
    assert len(heard) == 7
    for layer in table.layers:
        matrix = layer.weight.matrix
        for form, option in zip(FORMATS, layer.options, strict=True):
            packed = pack(matrix, form)
            assert (option.spec, option.cost) == (form.spec, packed.nbytes)
            variant = changed(model, layer.weight, layer.weight.arranged(unpack(packed)))
            # float32 on both sides; squares of 1e-6 where nothing was lost
            assert option.error == pytest.approx(expected(model, variant), rel=1e-3, abs=1e-11)
    assert table.joint([4] * 7) == pytest.approx(0, abs=1e-11)
    assert table.joint([0] * 7) > table.joint([1] * 7) > 0
    assert table.elements == sum(layer.weight.matrix.size for layer in table.layers)


def test_without_data_the_weights_speak() -> None:
    table = sensitivities(prepared(network()), None, everywhere)
    assert table.measure == "weights"
    for layer in table.layers:
        matrix = layer.weight.matrix.astype(np.float64)
        for option in layer.options:
            wanted = np.square(matrix - unpack(option.packed)).sum() / np.square(matrix).sum()
            assert option.error == pytest.approx(wanted, rel=1e-5)  # float32 differences
    with pytest.raises(DataError, match="only be measured with calibration data"):
        table.joint([0] * 7)


def test_weights_without_candidates_stay() -> None:
    model = prepared(network())
    table = sensitivities(model, None, lambda weight: FORMATS if weight.layer == "fc" else [])
    assert [layer.layer for layer in table.layers] == ["fc"]
    with pytest.raises(RecipeError, match="none of 7 weights"):
        sensitivities(model, None, lambda weight: [])


def test_another_cost() -> None:
    table = sensitivities(prepared(network()), None, everywhere, cost=lambda weight, packed: 3.0 * packed.shape[0])
    assert all(option.cost == 3 * layer.weight.extents["R"] for layer in table.layers for option in layer.options)


def test_all_layers_with_broken_weights_are_named() -> None:
    model = prepared(network())
    table = sensitivities(model, None, everywhere)
    broken = [layer.weight for layer in table.layers][1:3]
    for weight in broken:
        matrix = weight.matrix.copy()
        matrix[0, 0] = np.inf
        weight.store(matrix)
    with pytest.raises(DataError) as caught:
        sensitivities(model, FEEDS, everywhere)
    assert all(weight.layer in str(caught.value) for weight in broken)


def test_formats_that_cannot_hold_a_weight_are_named() -> None:
    with pytest.raises(DataError, match=r"fc: two_four(.|\n)*last: two_four"):
        sensitivities(prepared(network()), None, lambda weight: [parse("two_four int4")])


def test_outputs_that_overflow_are_never_an_option() -> None:
    """With two bits -20 becomes 0, and exp(89) is beyond float32."""
    model = onnx_text(
        "g (float[1,2] x) => (float[1,1] y) <float[2,1] w = {89.0, -20.0}> { a = MatMul(x, w) y = Exp(a) }"
    )
    model.graph[0].name = "grows"
    feed = {"x": np.ones((1, 2), np.float32)}
    table = sensitivities(model, [feed], lambda weight: [parse("int2"), parse("int8")])
    assert [np.isfinite(option.error) for option in table.layers[0].options] == [False, True]
    with pytest.raises(DataError, match=r"grows: .* NaN or infinite with each of dense int2"):
        sensitivities(model, [feed], lambda weight: [parse("int2")])
