"""What has no template on the GPU targets: every operator still runs, and equals onnxruntime."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from tests.models import make_model
from tests.targets.gpu import FLOAT, floats, needs_opencl
from tests.targets.running import check

INT64 = TensorProto.INT64
BOOL = TensorProto.BOOL


def one(
    op: str, x: np.ndarray, y: tuple[int, list[int]], constants: dict[str, np.ndarray] | None = None, **more: Any
) -> Any:
    """A model of one operator on ``x`` and constants, and its feed."""
    node = helper.make_node(op, ["x", *(constants or {})], ["y"], **more)
    kind = helper.np_dtype_to_tensor_dtype(x.dtype)
    return make_model([node], {"x": (kind, list(x.shape))}, {"y": y}, constants), {"x": x}


CASES = {
    "softmax over a long row": one("Softmax", floats(1, 1000), (FLOAT, [1, 1000])),
    "softmax inside": one("Softmax", floats(3, 50, 7), (FLOAT, [3, 50, 7]), axis=1),
    "mean of an image": one("GlobalAveragePool", floats(1, 5, 14, 14), (FLOAT, [1, 5, 1, 1])),
    "two results, across a group": one("ArgMax", floats(2, 700), (INT64, [2, 1]), axis=1),
    "two results, serial": one("ArgMax", floats(2, 20, 30), (INT64, [2, 1, 30]), axis=1),
    "sum to a scalar": one("ReduceSum", floats(30, 70), (FLOAT, []), keepdims=0),
    "scan": one("CumSum", floats(5, 33), (FLOAT, [5, 33]), {"axis": np.array(1)}),
    "gather by data": one("Gather", floats(50, 6), (FLOAT, [3, 6]), {"i": np.array([4, 49, 0])}),
    "scatter": one("ScatterND", floats(8, 4), (FLOAT, [8, 4]), {"i": np.array([[1], [5]]), "u": floats(2, 4, seed=3)}),
    "bool": one("Greater", floats(4, 12), (BOOL, [4, 12]), {"z": floats(4, 12, seed=1)}),
    "int64 arithmetic": one("Mul", np.arange(10) - 2**40, (INT64, [10]), {"z": np.arange(10)}),
    "layer norm": one(
        "LayerNormalization", floats(4, 384), (FLOAT, [4, 384]), {"s": floats(384, seed=1), "b": floats(384, seed=2)}
    ),
    "transpose": one("Transpose", floats(10, 4, 6), (FLOAT, [6, 10, 4]), perm=[2, 0, 1]),
    "an element": one("Exp", floats(1), (FLOAT, [1])),
}


@pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))
def test_operator(case: tuple[onnx.ModelProto, dict[str, np.ndarray]]) -> None:
    needs_opencl()
    check(*case, "mali-g52")
