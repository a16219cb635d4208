"""What leaves integer layers is quantized where float ones read it, and only there."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper

from tests.models import make_model
from tests.passes.support import normal, run
from tests.passes.test_quantize_activations import everything, feeds_of, prepared
from tilewright import compression
from tilewright.modelled import integer_parts
from tilewright.numeric import relative_l2
from tilewright.passes.activation_plan import make_plan
from tilewright.passes.calibrate import collect
from tilewright.passes.quantize_activations import QuantizeActivations, observed

FLOAT = TensorProto.FLOAT


def network() -> ir.Model:
    """A function and a mean between convolutions, which softmax reads too; another result that only softmax reads."""
    n = helper.make_node
    nodes = [
        n("Conv", ["x", "w1"], ["c1"], name="c1", pads=[1] * 4),
        n("Add", ["c1", "three"], ["up"], name="up"),
        n("Clip", ["up", "zero", "six"], ["clip"], name="clip"),
        n("Mul", ["c1", "clip"], ["swish"], name="swish"),
        n("AveragePool", ["swish"], ["mean"], name="mean", kernel_shape=[2, 2], strides=[2, 2]),
        n("Conv", ["mean", "w2"], ["c2"], name="c2"),
        n("Softmax", ["mean"], ["s1"], name="s1", axis=1),
        n("Softmax", ["c2"], ["s2"], name="s2", axis=1),
        n("Concat", ["s1", "s2"], ["both"], name="both", axis=1),
        n("Flatten", ["both"], ["flat"], name="flat"),
        n("MatMul", ["flat", "w3"], ["m"], name="m"),
        n("Add", ["m", "b3"], ["y"], name="bias"),
    ]
    constants = {
        **{"w1": normal(8, 3, 3, 3), "w2": normal(8, 8, 1, 1), "w3": normal(256, 5), "b3": normal(5)},
        **{"three": np.float32(3), "zero": np.float32(0), "six": np.float32(6)},
    }
    return prepared(make_model(nodes, {"x": (FLOAT, [1, 3, 8, 8])}, {"y": (FLOAT, [1, 5])}, constants))


def groups(results: int | None) -> dict[str, bool]:
    return {group.root.name or "": group.stored for group in make_plan(network().graph, everything, (), results).groups}


def test_which() -> None:
    assert groups(None) == {"x": False, "mean": False, "flat": False}
    # The mean has a quantizer for all its readers: so c1, which leads only there, needs none. Results stay float.
    assert groups(8) == {"x": False, "mean": True, "flat": False, "c2": True}


@pytest.mark.parametrize("bits", [8, 12])
def test_quantized(bits: int) -> None:
    model, before = network(), network()
    feeds = feeds_of(model)
    step = QuantizeActivations(everything, collect(model, feeds, observed(model, everything, bits)), results=bits)
    step(model)
    (result,) = [tensor for tensor in step.tensors if tensor.tensor == "c2"]
    assert result.quantizer.bits == bits
    values = run_value(before, "c2", feeds)
    assert (result.low, result.high) == (values.min(), values.max())  # whatever the method
    wanted, got = (np.stack([run(graph, feed)[0] for feed in feeds]) for graph in (before, model))
    assert relative_l2(got, wanted) < 0.15  # of four tensors, 8 bits of three of which are fixed; measured 0.07


@pytest.mark.parametrize(("results", "types"), [(0, {"int32"}), (8, {"uint8", "int8"}), (12, {"uint16", "int16"})])
def test_an_accelerator_hands_over_so_many_bits(results: int, types: set[str]) -> None:
    recipe = {"quantize": {"weights": "int8", "activations": 8, "results": results}}
    made = compression.run(network(), recipe, calibration=feeds_of(network()))
    outputs = {part.maps[at].name: part.maps[at].dtype for part in integer_parts(made.model) for at in part.outputs}
    (c2,) = [dtype for name, dtype in outputs.items() if name.startswith("c2")]
    assert c2 in types
    assert any(name.startswith("c1") for name in outputs) == (results == 0)  # else the mean is made there


def run_value(model: ir.Model, name: str, feeds: list[dict[str, np.ndarray]]) -> np.ndarray:  # type: ignore[type-arg]
    from tilewright.passes.execution import runner

    given = runner(model, [name])
    return np.stack([given(feed)[name] for feed in feeds])
