"""The repair of what NNCF writes; NNCF itself is not needed."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from benchmarks.evaluation import runner
from benchmarks.rivals.nncf_worker import repair


def dequantize(weight: npt.NDArray[np.int8], scale: npt.NDArray[np.float32], **settings: int) -> onnx.ModelProto:
    """A model that adds its input to a dequantized weight."""
    nodes = [
        helper.make_node("DequantizeLinear", ["q", "s"], ["w"], "w", "", None, None, **settings),
        helper.make_node("Add", ["x", "w"], ["y"], name="sum"),
    ]
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, weight.shape) for name in "xy")
    constants = [numpy_helper.from_array(weight, "q"), numpy_helper.from_array(scale, "s")]
    graph = helper.make_graph(nodes, "g", [x], [y], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def run(model: onnx.ModelProto, shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    result: npt.NDArray[np.float32] = runner(model)({"x": np.zeros(shape, np.float32)})["y"]
    return result


def test_scales_of_a_convolution() -> None:
    rng = np.random.default_rng(0)
    weight = rng.integers(-128, 128, (4, 3, 3, 3), np.int8)
    scale = rng.random((4, 1, 1, 1), np.float32)
    model = dequantize(weight, scale, axis=0)
    repair(model)
    np.testing.assert_array_equal(run(model, weight.shape), weight * scale)  # one product each: exact


def test_axis_of_blocks() -> None:
    rng = np.random.default_rng(0)
    weight = rng.integers(-128, 128, (6, 64), np.int8)
    scale = rng.random((6, 2), np.float32)
    model = dequantize(weight, scale, axis=0, block_size=32)
    repair(model)
    np.testing.assert_array_equal(run(model, weight.shape), weight * scale.repeat(32, axis=1))


def test_what_is_legal_stays() -> None:
    model = dequantize(np.ones((2, 4), np.int8), np.ones(2, np.float32), axis=0)
    before = model.SerializeToString()
    repair(model)
    assert model.SerializeToString() == before


def test_type_of_a_quantizer() -> None:
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"], "q", "", None, None, output_dtype=TensorProto.INT8),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"], "y"),
    ]
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [3]) for name in "xy")
    constants = [numpy_helper.from_array(np.array(0.5, np.float32), "s"), numpy_helper.from_array(np.uint8(3), "z")]
    graph = helper.make_graph(nodes, "g", [x], [y], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    repair(model)
    np.testing.assert_array_equal(run(model, (3,)), np.zeros(3, np.float32))
