"""Dynamic quantization as a PrimFunc: compiled as it is, it computes ONNX's DynamicQuantizeLinear."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import tvm
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

from tilewright.lower.dynamic_quantize import dynamic_quantize

OUTPUTS = ("q", "scale", "zero")


def reference(x: np.ndarray) -> list[np.ndarray]:
    node = helper.make_node("DynamicQuantizeLinear", ["x"], list(OUTPUTS))
    kinds = (TensorProto.UINT8, TensorProto.FLOAT, TensorProto.UINT8)
    shapes = (list(x.shape), [], [])
    outputs = [helper.make_tensor_value_info(*info) for info in zip(OUTPUTS, kinds, shapes, strict=True)]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, list(x.shape))]
    model = helper.make_model(
        helper.make_graph([node], "g", inputs, outputs), opset_imports=[helper.make_opsetid("", 17)]
    )
    onnx.checker.check_model(model)
    return list(ReferenceEvaluator(model).run(None, {"x": x}))


@pytest.mark.parametrize(
    "x",
    [
        np.random.default_rng(0).standard_normal((2, 3, 5)),
        np.random.default_rng(1).uniform(2, 9, (40,)),
        np.random.default_rng(2).uniform(-9, -2, (1, 40)),
        np.full((3,), 7.0),
        np.arange(-100, 156) / 2,
    ],
    ids=["both signs", "positive", "negative", "constant", "ties"],
)
def test_equals_onnx(x: np.ndarray) -> None:
    x = x.astype(np.float32)
    library = tvm.compile(dynamic_quantize(x.shape).with_attr("global_symbol", "main"), tvm.target.Target("llvm"))
    results = [tvm.runtime.empty(x.shape, "uint8"), tvm.runtime.empty((), "float32"), tvm.runtime.empty((), "uint8")]
    library["main"](tvm.runtime.tensor(x), *results)
    for name, got, wanted in zip(OUTPUTS, results, reference(x), strict=True):
        np.testing.assert_array_equal(got.numpy(), wanted, err_msg=name)


def test_zeros_have_a_scale_of_one() -> None:
    """ONNX leaves the scale of an all-zero tensor open (0 / 255 in its reference); dividing by it must not make NaN."""
    library = tvm.compile(dynamic_quantize((9,)).with_attr("global_symbol", "main"), tvm.target.Target("llvm"))
    results = [tvm.runtime.empty((9,), "uint8"), tvm.runtime.empty((), "float32"), tvm.runtime.empty((), "uint8")]
    library["main"](tvm.runtime.tensor(np.zeros(9, np.float32)), *results)
    assert [float(result.numpy().max()) for result in results] == [0.0, 1.0, 0.0]
