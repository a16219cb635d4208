"""Rounding by the layer's output is never worse than to the nearest, near the best where all can be tried."""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from tests.models import make_model
from tests.passes.support import normal
from tilewright.formats.packed import PackedWeight, pack, unpack
from tilewright.numeric import relative_l2
from tilewright.passes import normalise
from tilewright.passes.coupling import couple
from tilewright.passes.encode import Encode
from tilewright.passes.execution import runner
from tilewright.passes.round_weights import choose, gptq, round_weights
from tilewright.passes.weights import Weight, all_weights, spaces_by_value

FLOAT = TensorProto.FLOAT
Array = npt.NDArray[np.float32]


def network() -> ir.Model:
    """Convolutions (dense, grouped, depthwise), a table, and products; all but the table in a chain."""
    n = helper.make_node
    nodes = [
        n("Conv", ["x", "w1"], ["c1"], name="dense", pads=[1] * 4),
        n("Relu", ["c1"], ["r1"], name="r1"),
        n("Conv", ["r1", "w2"], ["c2"], name="depthwise", group=16, pads=[1] * 4),
        n("Conv", ["c2", "w3"], ["c3"], name="grouped", group=2),
        n("Flatten", ["c3"], ["f"], name="flatten"),
        n("Gemm", ["f", "w4"], ["y"], name="fc", transB=1),
        n("Gather", ["table", "i"], ["z"], name="lookup"),
    ]
    constants = {
        **{"w1": normal(16, 3, 3, 3), "w2": normal(16, 1, 3, 3), "w3": normal(8, 8, 1, 1), "w4": normal(6, 512)},
        "table": normal(9, 32),
    }
    inputs: dict[str, tuple[int, list[int | str]]] = {"x": (FLOAT, [1, 3, 8, 8]), "i": (TensorProto.INT64, [1])}
    outputs: dict[str, tuple[int, list[int | str]]] = {"y": (FLOAT, [1, 6]), "z": (FLOAT, [1, 32])}
    return normalise(ir.from_proto(make_model(nodes, inputs, outputs, constants)), {}, keep=lambda node: True)


def feeds(count: int = 16) -> list[dict[str, npt.NDArray[np.generic]]]:
    """Images whose pixels resemble their neighbours, so that errors of neighbouring weights can cancel."""
    rng = np.random.default_rng(0)
    images = rng.standard_normal((count, 1, 3, 8, 8)).cumsum(axis=3).cumsum(axis=4) / 4
    return [{"x": image.astype(np.float32), "i": np.zeros(1, np.int64)} for image in images]


def weights(model: ir.Model) -> dict[str, Weight]:
    found = all_weights(model.graph, spaces_by_value(couple(model.graph)))
    return {weight.value.name or "": weight for weight in found}


def packed(model: ir.Model, spec: str) -> dict[str, PackedWeight]:
    return {name: pack(weight.matrix, spec) for name, weight in weights(model).items()}


@pytest.mark.parametrize(
    "spec", ["int3", "int4(group=32,asymmetric)", "int4(per=tensor) entropy", "int2(group=16)", "int8"]
)
def test_a_network_gets_better(spec: str) -> None:
    model = network()
    given = packed(model, spec)
    result = round_weights(model, given, feeds())
    assert [layer.layer for layer in result.layers] == ["dense", "depthwise", "grouped", "fc"]
    for layer in result.layers:
        assert layer.rounded <= layer.nearest
        assert 0 <= layer.changed <= 1
    assert sum(layer.rounded for layer in result.layers) < 0.9 * sum(layer.nearest for layer in result.layers)
    assert [(fallback.layer, "Gather" in fallback.reason) for fallback in result.fallbacks] == [("lookup", True)]
    assert result.packed["table"] is given["table"]
    for name, weight in result.packed.items():
        assert weight.expanded_nbytes == given[name].expanded_nbytes
        scales = [
            {stored.role: stored.data for stored in p.arrays if stored.role != "values"} for p in (weight, given[name])
        ]
        assert scales[0] == scales[1]


def test_the_rounding_survives_encoding() -> None:
    model = network()
    given = packed(model, "int3")
    result = round_weights(model, given, feeds())
    outputs = {}
    for name, chosen in (("nearest", given), ("rounded", result.packed)):
        encoded = model.clone()
        step = Encode(lambda weight, chosen=chosen: chosen[weight.value.name or ""])  # type: ignore[misc]
        step(encoded)
        run = runner(encoded, ["y"])
        outputs[name] = [run(feed)["y"] for feed in feeds()]
        for layer in step.layers:
            np.testing.assert_array_equal(unpack(layer.packed), unpack(chosen[layer.weight]))
    run = runner(model, ["y"])
    wanted = np.stack([run(feed)["y"] for feed in feeds()])
    assert relative_l2(np.stack(outputs["rounded"]), wanted) < relative_l2(np.stack(outputs["nearest"]), wanted)


def parameters(weight: PackedWeight) -> dict[str, bytes]:
    return {stored.role: stored.data for stored in weight.arrays if stored.role != "values"}


@pytest.mark.parametrize("layout", ["block_sparse(4,4)", "block_sparse(8,2)", "two_four"])
def test_pruned_weights_stay_pruned(layout: str) -> None:
    model = network()
    for weight in weights(model).values():
        weight.store(unpack(pack(weight.matrix, layout, density=0.5)))
    given = packed(model, f"{layout} int4")
    result = round_weights(model, given, feeds())
    assert sum(layer.rounded for layer in result.layers) < sum(layer.nearest for layer in result.layers)
    for name, weight in weights(model).items():
        after = unpack(result.packed[name])
        assert not after[weight.matrix == 0].any()


def test_other_codecs_are_left_alone() -> None:
    model = network()
    given = {**packed(model, "codebook(16)"), "w4": pack(weights(model)["w4"].matrix, "int4")}
    result = round_weights(model, given, feeds())
    assert [layer.layer for layer in result.layers] == ["fc"]
    assert {fallback.layer for fallback in result.fallbacks} == {"dense", "depthwise", "grouped", "lookup"}
    assert all("no integers to choose" in fallback.reason for fallback in result.fallbacks)
    assert round_weights(model, {}, feeds()).layers == ()


@given(seed=st.integers(0, 1000))
@settings(max_examples=20, deadline=None)
def test_choices_are_near_the_best_of_all_roundings(seed: int) -> None:
    """Five columns up or down: 32 roundings of each row, all tried."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((200, 5)) @ rng.standard_normal((5, 5))
    moment = (x.T @ x / len(x)).astype(np.float32)[None]
    w = (rng.standard_normal((1, 20, 5)) * 3).astype(np.float32)
    ones = np.ones_like(w)
    choices = np.array(list(itertools.product([0, 1], repeat=5)), np.float32)

    def error(q: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
        d = (w[0] - q).astype(np.float64)
        found: npt.NDArray[np.float64] = np.einsum("rk,kl,rl->r", d, moment[0].astype(np.float64), d)
        return found

    best = np.min([error(np.floor(w[0]) + choice) for choice in choices], axis=0).sum()
    nearest = error(np.rint(w[0])).sum()
    chosen = choose(w, np.rint(w), ones, -99 * ones, 99 * ones, moment)[0]
    # at least half of what trying all 32 gains, which may be beaten: integers further away count too
    assert error(chosen).sum() <= nearest - 0.5 * (nearest - best) + 1e-6
    assert (error(chosen) <= error(np.rint(w[0])) * (1 + 1e-5) + 1e-6).all()  # float32


@pytest.mark.parametrize("count", [2, 16, 64])
def test_few_samples_do_not_spoil_what_was_not_sampled(count: int) -> None:
    """128 columns with a common part, judged on a thousand other inputs."""
    node = helper.make_node("MatMul", ["x", "w"], ["y"], name="fc")
    shapes: dict[str, tuple[int, list[int | str]]] = {"x": (FLOAT, [1, 128]), "y": (FLOAT, [1, 24])}
    model = make_model([node], {"x": shapes["x"]}, {"y": shapes["y"]}, {"w": normal(128, 24)})
    graph = normalise(ir.from_proto(model), {}, keep=lambda node: True)
    rng = np.random.default_rng(0)
    data = (rng.standard_normal((1000 + count, 128)) + 2 * rng.standard_normal((1000 + count, 1))).astype(np.float32)
    given = packed(graph, "int4")
    result = round_weights(graph, given, [{"x": row[None]} for row in data[:count]])
    matrix = weights(graph)["w"].matrix

    def error(weight: PackedWeight) -> float:
        return float(np.square((matrix - unpack(weight)) @ data[count:].T, dtype=np.float64).mean())

    # two samples say little, and must not cost more than a tenth either; 64 are worth a lot
    assert error(result.packed["w"]) < {2: 1.1, 16: 1.0, 64: 0.8}[count] * error(given["w"])


def test_gptq_keeps_to_limits_and_survives_degenerate_moments() -> None:
    w = normal(2, 3, 300) * 5
    scale = np.full_like(w, 0.5)
    scale[:, 1] = 0
    for moment in (np.zeros((2, 300, 300), np.float32), np.ones((2, 300, 300), np.float32)):
        q = gptq(w, scale, np.full_like(w, -4), np.full_like(w, 3), moment)
        assert q.min() >= -4
        assert q.max() <= 3
        assert not q[:, 1].any()
        np.testing.assert_array_equal(q, np.rint(q))
