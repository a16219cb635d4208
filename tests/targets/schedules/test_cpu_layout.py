"""Channels last on the cpu: transposes are left at the borders of a network only, layer names survive, results hold."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from tests.models import make_model
from tests.targets.running import check, levels_here
from tilewright import frontend
from tilewright.plan import Plan
from tilewright.targets import resolve


def block(activations: list[onnx.NodeProto], constants: dict[str, np.ndarray] | None = None) -> onnx.ModelProto:
    """conv 1, the nodes (from "c" to "a"), conv 2."""
    rng = np.random.default_rng(0)
    weights = {f"w{i}": rng.standard_normal((6, 6, 3, 3), dtype=np.float32) / 7 for i in (1, 2)}
    nodes = [
        helper.make_node("Conv", ["x", "w1"], ["c"], name="first", pads=[1, 1, 1, 1]),
        *activations,
        helper.make_node("Conv", ["a", "w2"], ["y"], name="second", pads=[1, 1, 1, 1]),
    ]
    image: tuple[int, list[int | str]] = (TensorProto.FLOAT, [1, 6, 8, 8])
    return make_model(nodes, {"x": image}, {"y": image}, {**weights, **(constants or {})})


ACTIVATIONS = {
    "clip": ([helper.make_node("Clip", ["c", "low", "high"], ["a"])], {"low": np.float32(-1), "high": np.float32(1)}),
    "hard swish": ([helper.make_node("HardSwish", ["c"], ["a"])], {}),
    "leaky": ([helper.make_node("LeakyRelu", ["c"], ["a"], alpha=0.1)], {}),
    "maximum of two": (
        [helper.make_node("Neg", ["c"], ["n"]), helper.make_node("Max", ["c", "n"], ["a"])],
        {},
    ),
    "per channel": (
        [helper.make_node("Mul", ["c", "s"], ["a"])],
        {"s": np.arange(6, dtype=np.float32).reshape(6, 1, 1)},
    ),
    "scale by one number": ([helper.make_node("Mul", ["c", "s"], ["a"])], {"s": np.array([3], np.float32)}),
    "power": ([helper.make_node("Pow", ["c", "s"], ["a"])], {"s": np.float32(2)}),
    "prelu": ([helper.make_node("PRelu", ["c", "s"], ["a"])], {"s": np.full((6, 1, 1), 0.2, np.float32)}),
}


def lowered(model: onnx.ModelProto) -> Plan:
    from tilewright.lower.pipeline import lower

    graph = frontend.load(model, {})
    names = [[str(value.name) for value in values] for values in (graph.graph.inputs, graph.graph.outputs)]
    return lower(frontend.to_relax(graph)[0], resolve("cpu-avx2"), *names)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation_between_convolutions_stays_in_one_layout(name: str) -> None:
    nodes, constants = ACTIVATIONS[name]
    model = block(nodes, constants)
    kernels = [launch.kernel for launch in lowered(model).launches]
    assert len(kernels) == 4, kernels  # to channels last, two convolutions with what follows them, and back
    x = np.random.default_rng(1).standard_normal((1, 6, 8, 8), dtype=np.float32)
    check(model, {"x": x}, levels_here()[-1])


def test_layers_keep_their_names() -> None:
    nodes, constants = ACTIVATIONS["leaky"]
    nodes[0].name = "act"
    plan = lowered(block(nodes, constants))
    assert ("first", "act") in [launch.layers for launch in plan.launches]


def test_fork_of_channels_first_and_last() -> None:
    """The convolution's result is also flattened in the model's own order."""
    weights = np.random.default_rng(0).standard_normal((5, 3, 1, 1), dtype=np.float32)
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"]),
        helper.make_node("Tanh", ["c"], ["t"]),
        helper.make_node("Flatten", ["t"], ["f"]),
        helper.make_node("Add", ["c", "t"], ["s"]),
    ]
    model = make_model(
        nodes,
        {"x": (TensorProto.FLOAT, [1, 3, 4, 6])},
        {"f": (TensorProto.FLOAT, [1, 120]), "s": (TensorProto.FLOAT, [1, 5, 4, 6])},
        {"w": weights},
    )
    x = np.random.default_rng(1).standard_normal((1, 3, 4, 6), dtype=np.float32)
    check(model, {"x": x}, levels_here()[0])
