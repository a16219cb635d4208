"""With every position sampled, moments predict the exact energy of each layer's output, however it is convolved."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper

from tests.models import make_model
from tests.passes.support import normal
from tilewright.passes import normalise
from tilewright.passes.coupling import couple
from tilewright.passes.execution import runner
from tilewright.passes.layer_inputs import groups_of, moments, obstacle
from tilewright.passes.weights import Weight, all_weights, spaces_by_value

FLOAT = TensorProto.FLOAT


def weights(model: ir.Model) -> list[Weight]:
    return list(all_weights(model.graph, spaces_by_value(couple(model.graph))))


def single(operator: str, x: tuple[int, ...], w: tuple[int, ...], y: tuple[int, ...], **attributes: Any) -> ir.Model:
    node = helper.make_node(operator, ["x", "w"], ["y"], name="layer", **attributes)
    model = make_model([node], {"x": (FLOAT, list(x))}, {"y": (FLOAT, list(y))}, {"w": normal(*w)})
    return normalise(ir.from_proto(model), {}, keep=lambda node: True)


CASES = [
    ("Conv", (2, 4, 7, 6), (5, 4, 3, 2), (2, 5, 5, 5), {}),
    ("Conv", (1, 4, 7, 6), (5, 4, 3, 3), (1, 5, 4, 3), {"strides": [2, 2], "pads": [1, 1, 1, 1]}),
    ("Conv", (1, 4, 9, 9), (5, 4, 3, 3), (1, 5, 8, 7), {"dilations": [2, 2], "pads": [0, 1, 3, 1]}),
    ("Conv", (1, 4, 8, 8), (6, 2, 3, 3), (1, 6, 6, 6), {"group": 2}),
    ("Conv", (1, 4, 8, 8), (8, 1, 3, 3), (1, 8, 8, 8), {"group": 4, "pads": [1, 1, 1, 1]}),
    ("Conv", (1, 4, 7, 7), (5, 4, 3, 3), (1, 5, 4, 4), {"auto_pad": "SAME_UPPER", "strides": [2, 2]}),
    ("Conv", (1, 4, 8, 8), (5, 4, 3, 3), (1, 5, 4, 4), {"auto_pad": "SAME_LOWER", "strides": [2, 2]}),
    ("Conv", (1, 4, 8, 8), (5, 4, 3, 3), (1, 5, 6, 6), {"auto_pad": "VALID"}),
    ("Conv", (2, 4, 9), (5, 4, 3), (2, 5, 7), {}),
    ("Conv", (1, 2, 5, 5, 5), (3, 2, 2, 2, 2), (1, 3, 4, 4, 4), {}),
    ("Gemm", (9, 8), (8, 5), (9, 5), {}),
    ("Gemm", (8, 9), (5, 8), (9, 5), {"transA": 1, "transB": 1}),
    ("MatMul", (2, 3, 8), (8, 5), (2, 3, 5), {}),
]


@pytest.mark.parametrize(("operator", "x", "w", "y", "attributes"), CASES)
def test_energy_of_the_output(
    operator: str, x: tuple[int, ...], w: tuple[int, ...], y: tuple[int, ...], attributes: dict[str, Any]
) -> None:
    model = single(operator, x, w, y, **attributes)
    feeds = [{"x": np.random.default_rng(seed).standard_normal(x).astype(np.float32)} for seed in range(3)]
    (weight,) = weights(model)
    assert obstacle(weight, model) == ""
    ((found, moment, count),) = moments(model, [weight], feeds)
    assert found is weight
    assert count == 3 * min(np.prod(y) // y[-1 if operator != "Conv" else 1], 8)
    groups = groups_of(weight)
    rows = weight.matrix.reshape(groups, -1, moment.shape[-1]).astype(np.float64)
    predicted = np.einsum("grk,gkl,grl->gr", rows, moment, rows).ravel()
    run = runner(model)
    outputs = np.stack([np.moveaxis(run(feed)["y"], 1 if operator == "Conv" else -1, 0) for feed in feeds])
    actual = np.square(outputs, dtype=np.float64).mean(axis=(0, *range(2, outputs.ndim)))
    np.testing.assert_allclose(predicted, actual, rtol=1e-4)  # float32 sums of up to 500 products


def test_a_product_after_a_flatten_has_its_columns_in_the_weights_order() -> None:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], name="conv"),
        helper.make_node("Flatten", ["c"], ["f"], name="flatten"),
        helper.make_node("MatMul", ["f", "v"], ["y"], name="fc"),
    ]
    constants = {"w": normal(3, 2, 1, 1), "v": normal(48, 5)}
    model = normalise(
        ir.from_proto(make_model(nodes, {"x": (FLOAT, [1, 2, 4, 4])}, {"y": (FLOAT, [1, 5])}, constants)),
        {},
        keep=lambda node: True,
    )
    feed = {"x": normal(1, 2, 4, 4)}
    fc = weights(model)[1]
    assert fc.extents == {"R": 5, "C": 3, "T": 16}
    ((_, moment, _),) = moments(model, [fc], [feed])
    predicted = np.einsum("rk,kl,rl->r", fc.matrix, moment[0], fc.matrix)
    np.testing.assert_allclose(predicted, np.square(runner(model)(feed)["y"][0]), rtol=1e-4)


def test_many_positions_are_sampled() -> None:
    model = single("Conv", (1, 4, 64, 64), (5, 4, 1, 1), (1, 5, 64, 64))
    feeds = [{"x": np.random.default_rng(seed).standard_normal((1, 4, 64, 64)).astype(np.float32)} for seed in range(4)]
    ((_, moment, _),) = moments(model, weights(model), feeds)
    # 2048 of 16384 positions: the standard error of a mean square is sqrt(2 / 2048)
    np.testing.assert_allclose(moment[0], np.eye(4), atol=0.15)
    ((_, again, _),) = moments(model, weights(model), feeds)
    np.testing.assert_array_equal(moment, again)


def test_obstacles() -> None:
    model = single("ConvTranspose", (1, 4, 8, 8), (4, 5, 3, 3), (1, 5, 10, 10))
    assert "ConvTranspose" in obstacle(weights(model)[0], model)
    model = single("MatMul", (2, 13000), (13000, 1), (2, 1))
    assert "13000 columns" in obstacle(weights(model)[0], model)
