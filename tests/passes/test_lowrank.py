"""Factorised layers against onnxruntime on dense weights truncated by NumPy's SVD, which shares no code with the pass.

Tolerance: 1e-4 of the largest output. The factors are rounded to float32 and summed in another order: about 1e-6.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from tests.models import make_model
from tests.passes.support import normal, run
from tests.passes.test_coupling import network, prepared
from tilewright.errors import DataError, RecipeError
from tilewright.formats.registry import parse
from tilewright.passes.encode import Encode
from tilewright.passes.lowrank import Lowrank, Rule
from tilewright.passes.weights import Weight, all_weights

FLOAT = TensorProto.FLOAT
Array = npt.NDArray[np.float32]


def network_of_all_kinds() -> ir.Model:
    """Every kind of layer that can be split, with strides, pads, dilations, biases, alpha and beta."""
    n = helper.make_node
    nodes = [
        n("Conv", ["x", "w3", "b3"], ["c3"], name="kxk", auto_pad="SAME_UPPER", strides=[2, 1]),
        n("Conv", ["c3", "wd"], ["cd"], name="dilated", dilations=[2, 2], pads=[1, 0, 1, 1]),
        n("Relu", ["cd"], ["r"], name="relu"),
        n("Conv", ["r", "w1", "b1"], ["c1"], name="pointwise"),
        n("GlobalAveragePool", ["c1"], ["p"], name="pool"),
        n("Flatten", ["p"], ["f"], name="flatten"),
        n("Gemm", ["f", "wg", "bg"], ["g"], name="gemm", alpha=0.5, beta=2.0, transB=1),
        n("Gemm", ["g", "wh"], ["y"], name="plain"),
        n("Reshape", ["c1", "to"], ["t"], name="reshape"),
        n("MatMul", ["t", "wm"], ["z"], name="matmul"),
    ]
    constants = {
        **{"w3": normal(16, 9, 3, 3), "b3": normal(16), "wd": normal(12, 16, 2, 2), "w1": normal(20, 12, 1, 1)},
        **{"b1": normal(20), "wg": normal(24, 20), "bg": normal(24), "wh": normal(24, 10), "wm": normal(60, 18)},
        "to": np.array([1, 2, -1, 60]),
    }
    outputs = {"y": (FLOAT, [1, 10]), "z": (FLOAT, [1, 2, "n", 18])}
    return prepared(make_model(nodes, {"x": (FLOAT, [1, 9, 11, 12])}, outputs, constants))  # type: ignore[arg-type]


FEEDS = {"x": normal(1, 9, 11, 12)}
SPLIT = ("kxk", "dilated", "pointwise", "gemm", "plain", "matmul")


def truncated(model: ir.Model, ranks: dict[str, int]) -> ir.Model:
    """The model with dense weights of lower rank."""
    copy = model.clone()
    for weight in all_weights(copy.graph):
        if weight.layer in ranks:
            u, s, v = np.linalg.svd(weight.matrix.astype(np.float64), full_matrices=False)
            rank = ranks[weight.layer]
            weight.store((u[:, :rank] * s[:rank] @ v[:rank]).astype(np.float32))
    return copy


def close(got: ir.Model, wanted: ir.Model, feeds: dict[str, Array] = FEEDS) -> None:
    onnx.checker.check_model(ir.to_proto(got), full_check=True)
    names = [[value.name for value in model.graph.outputs] for model in (got, wanted)]
    assert names[0] == names[1]
    for a, b in zip(run(got, feeds), run(wanted, feeds), strict=True):
        assert a.shape == b.shape
        assert np.abs(a - b).max() <= 1e-4 * np.abs(b).max()


@pytest.mark.parametrize("rank", [1, 3, 5])
def test_every_kind_of_layer(rank: int) -> None:
    model = network_of_all_kinds()
    wanted = truncated(model, dict.fromkeys(SPLIT, rank))
    shapes = {weight.layer: weight.matrix.shape for weight in all_weights(model.graph)}
    step = Lowrank(lambda weight: Rule(rank=rank))
    assert step(model).modified
    close(model, wanted)
    assert [layer.layer for layer in step.layers] == list(SPLIT)
    for layer in step.layers:
        assert (layer.rank, layer.reason) == (rank, "")
        assert layer.after == rank * sum(shapes[layer.layer]) < layer.before == np.prod(shapes[layer.layer])
    stored = sum(weight.matrix.size for weight in all_weights(model.graph))
    assert stored == sum(layer.after for layer in step.layers)


@pytest.mark.parametrize("rank", [1, 4])
def test_with_the_residual_the_function_stays(rank: int) -> None:
    model = network_of_all_kinds()
    before = model.clone()
    Lowrank(lambda weight: Rule(rank=rank, residual=True))(model)
    close(model, before)
    assert len(list(all_weights(model.graph))) == 3 * len(SPLIT)
    # without the residuals it is the truncated network, so they hold what was cut off and nothing else
    for weight in all_weights(model.graph):
        if weight.layer.endswith("/residual"):
            weight.store(np.zeros_like(weight.matrix))
    close(model, truncated(before, dict.fromkeys(SPLIT, rank)))


def test_factors_and_residual_can_be_encoded_each_in_its_codec() -> None:
    model = network_of_all_kinds()
    Lowrank(lambda weight: Rule(rank=4, residual=True))(model)
    specs = {"down": "int8", "residual": "int2"}

    def form(weight: Weight) -> str:
        return specs.get(weight.layer.rpartition("/")[2], "int8")

    step = Encode(lambda weight: parse(form(weight)))
    float_outputs = run(model, FEEDS)
    step(model)
    assert len(step.layers) == 3 * len(SPLIT)
    onnx.checker.check_model(ir.to_proto(model), full_check=True)
    for a, b in zip(run(model, FEEDS), float_outputs, strict=True):
        assert np.abs(a - b).max() > 0
        assert np.isfinite(a).all()


@given(st.integers(5, 40), st.integers(5, 40), st.integers(1, 4), st.integers(0, 99))
@settings(max_examples=25, deadline=None)
def test_a_planted_rank_is_found_by_its_energy(rows: int, columns: int, rank: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    planted = (rng.standard_normal((columns, rank)) @ rng.standard_normal((rank, rows))).astype(np.float32)
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"], name="layer")]
    made = make_model(nodes, {"x": (FLOAT, [2, columns])}, {"y": (FLOAT, [2, rows])}, {"w": planted})
    model, before = prepared(made), prepared(made)
    step = Lowrank(lambda weight: Rule(energy=1 - 1e-9))
    step(model)
    (layer,) = step.layers
    assert layer.energy >= 1 - 1e-9
    if rank * (rows + columns) < rows * columns:
        assert 1 <= layer.rank <= rank
        assert layer.reason == ""
    else:
        assert layer.rank == 0 or layer.rank < rank
    # 1e-9 of the energy is 3e-5 of the weight's norm; single outputs may cancel to a tenth of the typical one
    x = {"x": rng.standard_normal((2, columns)).astype(np.float32)}
    a, b = run(model, x)[0], run(before, x)[0]
    assert np.abs(a - b).max() <= 1e-3 * max(np.abs(b).max(), float(np.linalg.norm(planted)) / 10)


def test_energy_and_bytes_give_the_rank() -> None:
    model = network_of_all_kinds()
    matrices = {weight.layer: weight.matrix.astype(np.float64) for weight in all_weights(model.graph)}
    step = Lowrank(lambda weight: Rule(energy=0.4))
    step(model.clone())
    for layer in step.layers:
        squares = np.cumsum(np.square(np.linalg.svd(matrices[layer.layer], compute_uv=False)))
        rank = int(np.argmax(squares >= 0.4 * squares[-1])) + 1
        assert layer.rank == rank
        assert layer.energy == pytest.approx(squares[rank - 1] / squares[-1], rel=1e-6)
    step = Lowrank(lambda weight: Rule(nbytes=1000))
    step(model)
    for layer in step.layers:
        sides = sum(matrices[layer.layer].shape)
        assert layer.rank == 1000 // (4 * sides)
        assert bool(layer.reason) == (layer.rank == 0)


def test_what_does_not_pay_is_left_with_the_reason() -> None:
    model = network_of_all_kinds()
    before = ir.to_proto(model).SerializeToString()
    step = Lowrank(lambda weight: Rule(rank=9) if weight.layer in ("pointwise", "plain") else None)
    assert not step(model).modified
    assert ir.to_proto(model).SerializeToString() == before
    reasons = {layer.layer: layer.reason for layer in step.layers}
    assert "rank 9 does not pay: 20 x 12 weights are less than both factors above 7" in reasons["pointwise"]
    assert reasons.keys() == {"pointwise", "plain"}
    assert all(layer.before == layer.after and layer.rank == 0 for layer in step.layers)


def test_the_greatest_rank_that_pays() -> None:
    model = network_of_all_kinds()
    step = Lowrank(lambda weight: Rule(rank=7) if weight.layer == "pointwise" else None)
    step(model)
    assert (step.layers[0].rank, step.layers[0].after) == (7, 7 * 32)


def test_weights_that_are_no_matrix_are_left() -> None:
    model = prepared(network())
    for weight in all_weights(model.graph):
        if weight.layer == "fc":
            weight.store(np.zeros_like(weight.matrix))
    before = model.clone()
    step = Lowrank(lambda weight: Rule(rank=1))
    step(model)
    reasons = {layer.layer: layer.reason for layer in step.layers}
    assert "grouped" in reasons["depthwise"]
    assert reasons["fc"] == "the weight is zero"
    assert reasons["c2"] == ""
    close(model, truncated(before, {layer.layer: 1 for layer in step.layers if layer.rank}), {"x": normal(1, 3, 8, 8)})


def test_a_transposed_input_is_left() -> None:
    nodes = [helper.make_node("Gemm", ["x", "w"], ["y"], name="layer", transA=1)]
    made = make_model(nodes, {"x": (FLOAT, [8, 2])}, {"y": (FLOAT, [2, 8])}, {"w": normal(8, 8)})
    step = Lowrank(lambda weight: Rule(rank=1))
    assert not step(prepared(made)).modified
    assert step.layers[0].reason == "Gemm reads a transposed input"


def test_names_that_are_taken_are_avoided() -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"], name="a"),
        helper.make_node("MatMul", ["h", "w.down"], ["y"], name="a/down"),
    ]
    constants = {"w": normal(8, 9), "w.down": normal(9, 8)}
    made = make_model(nodes, {"x": (FLOAT, [2, 8])}, {"y": (FLOAT, [2, 8])}, constants)
    model = prepared(made)
    wanted = truncated(model, {"a": 2, "a/down": 2})
    Lowrank(lambda weight: Rule(rank=2))(model)
    close(model, wanted, {"x": normal(2, 8)})
    names = [node.name for node in model.graph]
    assert len(names) == len(set(names)) == 4


def test_bad_weights_and_rules() -> None:
    model = network_of_all_kinds()
    for weight in all_weights(model.graph):
        if weight.layer in ("kxk", "gemm"):
            matrix = weight.matrix.copy()
            matrix[0, 0] = np.nan
            weight.store(matrix)
    with pytest.raises(DataError, match=r"kxk: its weight has NaN(.|\n)*gemm: its weight"):
        Lowrank(lambda weight: Rule(rank=1))(model)
    for wrong in ({}, {"rank": 1, "energy": 0.5}, {"rank": 0}, {"energy": 0.0}, {"energy": 1.1}, {"nbytes": -1}):
        with pytest.raises(RecipeError):
            Rule(**wrong)  # type: ignore[arg-type]
