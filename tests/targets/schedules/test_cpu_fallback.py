"""The schedule for everything else: right on operators of every shape of PrimFunc, in all dtypes."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.models import make_model
from tests.targets.running import check, levels_here
from tests.targets.schedules.kernels import scheduled_text
from tilewright.targets.schedules.cpu_fallback import vector_factor

F, I64, I32, I8, U8, F16, F64, B = (
    TensorProto.FLOAT,
    TensorProto.INT64,
    TensorProto.INT32,
    TensorProto.INT8,
    TensorProto.UINT8,
    TensorProto.FLOAT16,
    TensorProto.DOUBLE,
    TensorProto.BOOL,
)
IMAGE = (2, 5, 7, 48)
WIDE = (3, 40, 1024)  # large enough for parallel loops


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


CASES: dict[str, tuple[str, tuple[int, ...], int, dict[str, Any], list[np.ndarray]]] = {
    # name: operator, shape of x, dtype of x, attributes, constant inputs after x
    "softmax": ("Softmax", WIDE, F, {"axis": -1}, []),
    "softmax of few": ("Softmax", (3, 7), F, {"axis": -1}, []),
    "softmax over the middle": ("Softmax", IMAGE, F, {"axis": 1}, []),
    "softmax in float64": ("Softmax", (4, 64), F64, {"axis": -1}, []),
    "log softmax": ("LogSoftmax", WIDE, F, {"axis": -1}, []),
    "layer normalisation": ("LayerNormalization", WIDE, F, {"axis": -1}, [np.linspace(1, 2, 1024, dtype=np.float32)]),
    "mean of rows": ("ReduceMean", WIDE, F, {"axes": [2]}, []),
    "mean of columns": ("ReduceMean", WIDE, F, {"axes": [1]}, []),
    "mean of all": ("ReduceMean", IMAGE, F, {}, []),
    "maximum of odd rows": ("ReduceMax", (9, 131), F, {"axes": [1]}, []),
    "norm": ("ReduceL2", IMAGE, F, {"axes": [1, 3]}, []),
    "sum of int64": ("ReduceMax", IMAGE, I64, {"axes": [3]}, []),
    "sum of int32": ("ReduceSum", WIDE, I32, {"keepdims": 0}, [ints(1)]),
    "first maximum": ("ArgMax", IMAGE, F, {"axis": 1}, []),
    "first minimum in rows": ("ArgMin", WIDE, F, {"axis": 2, "keepdims": 0}, []),
    "running sum": ("CumSum", (4, 33), F, {}, [np.array(1, np.int64)]),
    "transpose": ("Transpose", IMAGE, F, {"perm": [3, 0, 2, 1]}, []),
    "transpose int8": ("Transpose", IMAGE, I8, {"perm": [0, 2, 3, 1]}, []),
    "gather": ("Gather", (50, 24), F, {"axis": 0}, [ints(3, -1, 0, 49)]),
    "gather columns": ("Gather", (50, 24), F16, {"axis": 1}, [ints(3, 0, 23)]),
    "pad": ("Pad", IMAGE, F, {}, [ints(0, 1, 2, 3, 0, 0, 1, 5), np.array(1.5, np.float32)]),
    "slice": ("Slice", IMAGE, F, {}, [ints(1, 40), ints(5, 0), ints(1, 3), ints(2, -3)]),
    "expand": ("Expand", (5, 1, 48), F, {}, [ints(2, 5, 7, 48)]),
    "tile": ("Tile", (3, 5), U8, {}, [ints(2, 3)]),
    "cast to int": ("Cast", IMAGE, F, {"to": I32}, []),
    "cast to half": ("Cast", IMAGE, F, {"to": F16}, []),
    "not": ("Not", IMAGE, B, {}, []),
    "softplus": ("Softplus", WIDE, F, {}, []),
    "space to depth": ("SpaceToDepth", (1, 3, 8, 6), F, {"blocksize": 2}, []),
    "half addition": ("Add", IMAGE, F16, {}, [np.linspace(-1, 1, 48, dtype=np.float16)]),
    "int8 maximum": ("Max", IMAGE, I8, {}, [np.arange(-24, 24, dtype=np.int8)]),
}


@pytest.mark.parametrize("name", CASES)
def test_operator_equals_onnxruntime(name: str) -> None:
    op, shape, kind, attributes, constants = CASES[name]
    rng = np.random.default_rng(0)
    dtype = helper.tensor_dtype_to_np_dtype(kind)
    x = (rng.standard_normal(shape) * 20).astype(dtype) if kind != B else rng.random(shape) < 0.5
    names = [f"c{index}" for index in range(len(constants))]
    graph = helper.make_graph(
        [helper.make_node(op, ["x", *names], ["y"], **attributes)],
        "operator",
        [helper.make_tensor_value_info("x", kind, list(shape))],
        [helper.make_tensor_value_info("y", attributes.get("to", I64 if op.startswith("Arg") else kind), None)],
        [numpy_helper.from_array(value, name) for name, value in zip(names, constants, strict=True)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    model = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    # float16 results differ by one unit in the last place where a sum is rounded once here and twice there
    check(model, {"x": x}, levels_here()[-1], rtol=1e-3 if F16 in (kind, attributes.get("to")) else 1e-5)


def test_several_outputs_from_one_input() -> None:
    nodes = [
        helper.make_node("Split", ["x"], ["a", "b", "c"], axis=1),
        helper.make_node("Concat", ["c", "a"], ["d"], axis=1),
        helper.make_node("Mul", ["b", "b"], ["e"]),
    ]
    model = make_model(nodes, {"x": (F, [2, 9, 10])}, {"d": (F, [2, 6, 10]), "e": (F, [2, 3, 10])})
    check(model, {"x": np.random.default_rng(0).random((2, 9, 10), dtype=np.float32)}, levels_here()[0])


@pytest.mark.parametrize(
    ("extent", "lanes", "factor"), [(1024, 16, 64), (48, 16, 48), (24, 16, 12), (7, 16, 7), (17, 16, 1), (1, 8, 1)]
)
def test_vector_factor(extent: int, lanes: int, factor: int) -> None:
    assert vector_factor(extent, lanes) == factor


@pytest.mark.parametrize(("stride", "lanes"), [(1, 64), (3, 16)])
def test_gathered_lanes_take_one_register(stride: int, lanes: int) -> None:
    """They are read one by one, so that more would be code without gain."""
    from tvm import te

    x = te.placeholder((64, 192 * stride), "float32", "x")
    func = te.create_prim_func([x, te.compute((64, 192), lambda i, c: x[i, c * stride] * 2, "y")])
    assert f"T.vectorized({lanes})" in scheduled_text(func, "cpu-avx512")


def test_large_elementwise_kernel_is_parallel_and_vectorised() -> None:
    from tvm import te

    x = te.placeholder((64, 32, 128), "float32", "x")
    func = te.create_prim_func([x, te.compute(x.shape, lambda *i: x(*i) * 2, "y")])
    text = scheduled_text(func, "cpu-avx2")
    assert "T.parallel" in text
    assert "T.vectorized(32)" in text
