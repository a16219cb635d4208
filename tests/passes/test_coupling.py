"""Permuting every free space leaves a network's outputs as onnxruntime computes them; what must be fixed is fixed."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper

from tests.models import make_model
from tilewright.passes import normalise
from tilewright.passes.coupling import Space, couple

FLOAT = TensorProto.FLOAT


def random(*shape: int) -> npt.NDArray[np.float32]:
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype("float32") / 3


def network() -> onnx.ModelProto:
    """Residual addition, depthwise convolution, concat, flatten into a matrix product, PRelu, reduction, LayerNorm."""
    n = helper.make_node
    nodes = [
        n("Conv", ["x", "w1", "b1"], ["c1"], name="c1", pads=[1] * 4),
        n("Relu", ["c1"], ["r1"], name="r1"),
        n("Conv", ["r1", "w2"], ["c2"], name="c2", pads=[1] * 4),
        n("PRelu", ["c2", "slope"], ["p2"], name="p2"),
        n("Add", ["p2", "r1"], ["a"], name="residual"),
        n("Conv", ["a", "wd"], ["d"], name="depthwise", pads=[1] * 4, group=8),
        n("Conv", ["r1", "w3"], ["c3"], name="c3"),
        n("Concat", ["d", "c3"], ["cat"], name="cat", axis=1),
        n("MaxPool", ["cat"], ["m"], name="pool", kernel_shape=[2, 2], strides=[2, 2]),
        n("Conv", ["m", "w4", "b4"], ["c4"], name="c4"),
        n("Flatten", ["c4"], ["f"], name="flatten"),
        n("Gemm", ["f", "w5", "b5"], ["g"], name="fc", transB=1),
        n("LayerNormalization", ["g", "scale", "shift"], ["l"], name="norm"),
        n("MatMul", ["l", "w6"], ["y"], name="last"),
        n("ReduceMean", ["a"], ["z"], name="mean", axes=[1, 2, 3]),
    ]
    constants = {
        **{"w1": random(8, 3, 3, 3), "b1": random(8), "w2": random(8, 8, 3, 3), "slope": random(8, 1, 1)},
        **{"wd": random(8, 1, 3, 3), "w3": random(5, 8, 1, 1), "w4": random(6, 13, 1, 1), "b4": random(6)},
        **{"w5": random(12, 96), "b5": random(12), "scale": random(12), "shift": random(12), "w6": random(12, 7)},
    }
    outputs = {"y": (FLOAT, [1, 7]), "z": (FLOAT, [1, 1, 1, 1])}
    return make_model(nodes, {"x": (FLOAT, [1, 3, 8, 8])}, outputs, constants)


def prepared(model: onnx.ModelProto) -> ir.Model:
    return normalise(ir.from_proto(model), {}, keep=lambda node: True)


def run(model: ir.Model, x: npt.NDArray[np.float32] | None = None) -> list[npt.NDArray[np.float32]]:
    session = ort.InferenceSession(ir.to_proto(model).SerializeToString(), providers=["CPUExecutionProvider"])
    return list(session.run(None, {"x": random(1, 3, 8, 8) if x is None else x}))


def free(spaces: list[Space]) -> list[Space]:
    return [space for space in spaces if not space.fixed]


def test_permuting_all_free_spaces_changes_nothing() -> None:
    model = prepared(network())
    before = run(model)
    spaces = free(couple(model.graph))
    rng = np.random.default_rng(0)
    for space in spaces:
        space.permute(rng.permutation(space.size))
    for got, want in zip(run(model), before, strict=True):
        # sums of up to 117 products in another order, single precision
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


def test_spaces_of_the_network() -> None:
    spaces = couple(prepared(network()).graph)
    members = [sorted(str(member.value.name) for member in space.members) for space in free(spaces)]
    # residual: c1 and c2 share an order, which the depthwise and the next convolutions follow
    assert members == [
        ["b1", "slope", "w1", "w2", "w2", "w3", "w4", "wd"],
        ["w3", "w4"],
        ["b4", "w4", "w5"],
        ["b5", "scale", "shift", "w5", "w6"],
    ]
    assert [space.size for space in free(spaces)] == [8, 5, 6, 12]


def test_flatten_moves_groups_and_concat_moves_parts() -> None:
    spaces = free(couple(prepared(network()).graph))
    flattened = next(member for space in spaces for member in space.members if member.value.name == "w5")
    assert (flattened.axis, flattened.repeat) == (1, 16)
    second = next(member for member in spaces[1].members if member.value.name == "w4")
    assert (second.axis, second.offset, second.repeat) == (1, 8, 1)


def test_model_outputs_and_unknown_operators_fix_the_order() -> None:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], name="c"),
        helper.make_node("CumSum", ["c", "axis"], ["y"], name="cumsum"),
    ]
    constants = {"w": random(4, 3, 1, 1), "axis": np.array(1)}
    model = make_model(nodes, {"x": (FLOAT, [1, 3, 8, 8])}, {"y": (FLOAT, [1, 4, 8, 8])}, constants)
    (space,) = couple(prepared(model).graph)
    assert "cumsum" in space.fixed[0]
    with pytest.raises(ValueError, match="cumsum"):
        space.permute(np.arange(4))
    plain = make_model(nodes[:1], {"x": (FLOAT, [1, 3, 8, 8])}, {"c": (FLOAT, [1, 4, 8, 8])}, {"w": constants["w"]})
    assert "output" in couple(prepared(plain).graph)[0].fixed[0]


def test_a_weight_used_twice_is_fixed() -> None:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], name="a"),
        helper.make_node("Conv", ["a", "w"], ["b"], name="b"),
        helper.make_node("GlobalMaxPool", ["b"], ["c"], name="c"),
        helper.make_node("ReduceMax", ["c"], ["y"], name="y", axes=[1, 2, 3]),
    ]
    model = make_model(nodes, {"x": (FLOAT, [1, 3, 8, 8])}, {"y": (FLOAT, [1, 1, 1, 1])}, {"w": random(3, 3, 1, 1)})
    assert all("more than once" in space.fixed[0] for space in couple(prepared(model).graph))


def test_order_must_be_a_permutation() -> None:
    space = free(couple(prepared(network()).graph))[0]
    with pytest.raises(ValueError, match="8 channels"):
        space.permute(np.zeros(8, np.intp))
