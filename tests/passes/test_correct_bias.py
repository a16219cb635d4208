"""After bias correction the mean of every channel is the float network's, whatever happened to the weights."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper

from tests.models import make_model
from tests.passes.support import normal
from tilewright.errors import DataError
from tilewright.formats.registry import parse
from tilewright.passes import normalise
from tilewright.passes import run as run_passes
from tilewright.passes.correct_bias import CorrectBias
from tilewright.passes.encode import Encode
from tilewright.passes.execution import runner

FLOAT = TensorProto.FLOAT
LAYERS = {
    **{"conv": "c", "depthwise": "d", "transposed": "t", "fc": "g", "scaled": "h"},
    **{"product": "ma", "bare": "mb"},
}


def network(opset: int = 17) -> ir.Model:
    """Layers side by side, so that each can be judged with the float network's own inputs."""
    n = helper.make_node
    nodes = [
        n("Conv", ["x", "w1", "b1"], ["c"], name="conv", pads=[1] * 4, strides=[2, 2]),
        n("Conv", ["x", "w2"], ["d"], name="depthwise", group=4),
        n("ConvTranspose", ["x", "w3"], ["t"], name="transposed"),
        n("Flatten", ["x"], ["f"], name="flatten"),
        n("Gemm", ["f", "w4", "b4"], ["g"], name="fc", transB=1),
        n("Gemm", ["f", "w4", "b5"], ["h"], name="scaled", transB=1, alpha=0.5, beta=2.0),
        n("MatMul", ["x", "w6"], ["m"], name="product"),
        n("Add", ["b6", "m"], ["ma"], name="add"),
        n("MatMul", ["x", "w6"], ["mb"], name="bare"),
    ]
    constants = {
        **{"w1": normal(6, 4, 3, 3), "b1": normal(6), "w2": normal(4, 1, 3, 3), "w3": normal(4, 5, 2, 2)},
        **{"w4": normal(7, 256), "b4": normal(7), "b5": normal(1, 1), "w6": normal(8, 9), "b6": normal(9)},
    }
    shapes: dict[str, list[int | str]] = {
        **{"c": [1, 6, 4, 4], "d": [1, 4, 6, 6], "t": [1, 5, 9, 9], "g": [1, 7], "h": [1, 7]},
        **{"ma": [1, 4, 8, 9], "mb": [1, 4, 8, 9]},
    }
    outputs = {name: (FLOAT, shape) for name, shape in shapes.items()}
    model = make_model(nodes, {"x": (FLOAT, [1, 4, 8, 8])}, outputs, constants, opset)
    return normalise(ir.from_proto(model), {}, keep=lambda node: True)


def feeds(count: int = 5) -> list[dict[str, npt.NDArray[np.float32]]]:
    """Not centred, so that an error of the weights moves the mean."""
    rng = np.random.default_rng(0)
    return [{"x": rng.uniform(0, 2, (1, 4, 8, 8)).astype(np.float32)} for _ in range(count)]


def means(model: ir.Model) -> dict[str, npt.NDArray[np.float64]]:
    """Of every output channel over all feeds."""
    found: dict[str, npt.NDArray[np.float64]] = {}
    run = runner(model)
    for feed in feeds():
        for name, value in run(feed).items():
            axes = (0, 2, 3) if name in "cdt" else tuple(range(value.ndim - 1))
            found[name] = found.get(name, 0) + value.mean(axis=axes, dtype=np.float64) / len(feeds())
    return found


@pytest.mark.parametrize("opset", [13, 18])
@pytest.mark.parametrize("encoded", [False, True])
def test_channel_means_are_those_of_the_float_network(encoded: bool, opset: int) -> None:
    reference = network(opset)
    model = reference.clone()
    if encoded:
        Encode(lambda weight: parse("int3"))(model)
    else:
        for name in ("w1", "w2", "w3", "w4", "w6"):
            value = model.graph.initializers[name]
            assert value.const_value is not None
            value.const_value = ir.tensor(np.rint(value.const_value.numpy() * 2) / np.float32(2), name=name)
    before, wanted = means(model), means(reference)
    step = CorrectBias(reference, feeds())
    step(model)
    onnx.checker.check_model(ir.to_proto(model), full_check=True)
    after = means(model)
    assert list(after) == list(wanted)
    for layer, output in LAYERS.items():
        off = np.abs(before[output] - wanted[output]).max()
        # float32 sums of up to 256 products of size 1
        np.testing.assert_allclose(after[output], wanted[output], atol=1e-4, err_msg=layer)
        assert off > 1e-2, layer
    assert [layer.layer for layer in step.layers] == list(LAYERS)
    assert all(0 < layer.shift < layer.spread for layer in step.layers)


def test_names_stay_and_a_bare_product_gets_an_addition() -> None:
    reference = network()
    model = reference.clone()
    Encode(lambda weight: parse("int3"))(model)
    CorrectBias(reference, feeds())(model)
    adds = [node for node in model.graph if node.op_type == "Add"]
    assert [(node.name, node.outputs[0].name) for node in adds] == [("add", "ma"), ("bare/bias", "mb")]


def test_an_unchanged_model_stays_as_it_is() -> None:
    reference = network()
    step = CorrectBias(reference, feeds())
    assert not step(reference.clone()).modified
    assert step.layers == []


def test_feeds_may_be_any_iterable_but_not_empty() -> None:
    reference = network()
    model = reference.clone()
    Encode(lambda weight: parse("int4"))(model)

    def once() -> Iterator[dict[str, npt.NDArray[np.float32]]]:
        yield from feeds(2)

    CorrectBias(reference, once())(model)
    with pytest.raises(DataError, match="no calibration data"):
        run_passes(model, [CorrectBias(reference, [])])


@pytest.mark.parametrize(("shape", "moved"), [((6, 1, 1), True), ((1, 6, 1, 1), True), ((4, 4), False)])
def test_an_addition_behind_a_convolution_is_its_bias(shape: tuple[int, ...], moved: bool) -> None:
    """No second constant where one for each channel is added already; its sums are those of a bias of its own."""
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], name="conv", pads=[1] * 4, strides=[2, 2]),
        helper.make_node("Add", ["c", "b"], ["y"], name="add"),
    ]
    constants = {"w": normal(6, 4, 3, 3), "b": normal(*shape)}
    proto = make_model(nodes, {"x": (FLOAT, [1, 4, 8, 8])}, {"y": (FLOAT, [1, 6, 4, 4])}, constants, 17)
    reference = normalise(ir.from_proto(proto), {}, keep=lambda node: True)
    model = reference.clone()
    run_passes(model, [Encode(lambda weight: parse("int2")), CorrectBias(reference, feeds())])
    (conv,) = [node for node in model.graph if node.op_type == "Conv"]
    assert (len(conv.inputs) == 2) == moved
    assert sum(value.const_value.size == 6 for value in model.graph.initializers.values() if value.const_value) == 1 + 1
    got, want = (
        np.mean([runner(network)(feed)["y"] for feed in feeds()], axis=(0, 1, 3, 4)) for network in (model, reference)
    )
    np.testing.assert_allclose(got, want, atol=1e-5)  # sums of some 100 products of size one in single precision
