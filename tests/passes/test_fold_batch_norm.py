from __future__ import annotations

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.passes.support import check, normal, operators
from tilewright.passes.fold_batch_norm import FoldBatchNorm


def _model(
    producer: str, weight: tuple[int, ...], channels: int, bias: bool, x: tuple[int, ...], **attributes: object
) -> ir.Model:
    rng = np.random.default_rng(1)

    def array(name: str, value: npt.NDArray[np.floating]) -> TensorProto:
        return numpy_helper.from_array(value.astype(np.float32), name)

    constants = [array("w", rng.standard_normal(weight)), array("b", rng.standard_normal(channels))]
    constants += [array(name, rng.standard_normal(channels)) for name in ("scale", "beta", "mean")]
    constants += [array("var", rng.uniform(0.5, 1.5, channels))]
    nodes = [
        helper.make_node(producer, ["x", "w", "b"] if bias else ["x", "w"], ["a"], name="linear", **attributes),
        helper.make_node("BatchNormalization", ["a", "scale", "beta", "mean", "var"], ["y"], epsilon=1e-3),
    ]
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes, "g", [value("x", 1, x)], [value("y", 1, None)], constants if bias else [constants[0], *constants[2:]]
    )
    return ir.from_proto(
        onnx.shape_inference.infer_shapes(
            helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
        )
    )


@pytest.mark.parametrize(
    ("producer", "weight", "channels", "attributes"),
    [
        ("Conv", (6, 4, 3, 3), 6, {}),
        ("Conv", (6, 2, 3, 3), 6, {"group": 2}),
        ("ConvTranspose", (4, 6, 3, 3), 6, {}),
        ("ConvTranspose", (4, 3, 3, 3), 6, {"group": 2}),
    ],
)
@pytest.mark.parametrize("bias", [False, True])
def test_folds_into_the_linear_layer(
    producer: str, weight: tuple[int, ...], channels: int, attributes: dict[str, int], bias: bool
) -> None:
    model = _model(producer, weight, channels, bias, (1, 4, 8, 8), **attributes)
    # 1e-5: two roundings of float32 differ by what cancels in sums of 36 products of order one.
    model = check(FoldBatchNorm(), model, {"x": normal(1, 4, 8, 8)}, rtol=1e-5)
    assert operators(model) == {producer: 1}


@pytest.mark.parametrize(("weight", "transposed"), [((5, 6), 0), ((6, 5), 1)])
def test_folds_into_gemm(weight: tuple[int, int], transposed: int) -> None:
    model = _model("Gemm", weight, 6, True, (3, 5), transB=transposed, alpha=0.5)
    assert operators(check(FoldBatchNorm(), model, {"x": normal(3, 5)}, rtol=1e-5)) == {"Gemm": 1}


def test_a_result_that_is_also_used_elsewhere_is_left_alone() -> None:
    model = _model("Conv", (6, 4, 3, 3), 6, True, (1, 4, 8, 8))
    model.graph.outputs.append(model.graph[0].outputs[0])
    assert operators(check(FoldBatchNorm(), model, {"x": normal(1, 4, 8, 8)})) == {"Conv": 1, "BatchNormalization": 1}
