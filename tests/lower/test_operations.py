"""Operations counted in a kernel's definition, and what reaches launches and the artifact."""

from __future__ import annotations

import math

import numpy as np
import tvm
from onnx import TensorProto, helper
from tvm import te, tirx

import tilewright
from tests.models import make_model, small_cnn
from tests.targets.schedules.packed import Shape
from tilewright.artifact import Artifact
from tilewright.lower.operations import count_operations
from tilewright.targets.schedules.cpu_compressed import compressed


def test_reductions_count_two_a_step_elements_one_copies_none() -> None:
    x = te.placeholder((4, 5), "float32", "x")
    k = te.reduce_axis((0, 5), "k")
    total = te.compute((4,), lambda i: te.sum(x[i, k], axis=k), name="total")
    scaled = te.compute((4,), lambda i: total[i] * 3 + 1, name="scaled")
    moved = te.compute((2, 2), lambda i, j: scaled[i * 2 + j], name="moved")
    padded = te.compute(
        (4, 2), lambda i, j: tirx.if_then_else(i < 2, moved[i, j], tirx.const(0, "float32")), name="padded"
    )
    function = te.create_prim_func([x, padded])
    assert count_operations(tvm.IRModule({"kernel": function})) == {"kernel": 2 * 20 + 4}


def test_kernels_of_sparse_weights_count_what_they_keep() -> None:
    case = Shape(32, (16, 4), 64, 8, 8, 4, rows=(3,)).case(16)
    counted = count_operations(tvm.IRModule({"kernel": compressed(case.layer)}))
    assert counted == {"kernel": 2 * 3 * 32 * 8 * 4}


def test_launches_and_artifacts_tell_them() -> None:
    """Every launch: the convolution is 2 * 8 * 16 * 16 * 27, bias and Relu an operation an element each."""
    artifact = tilewright.compile(small_cnn(), "cpu")
    operations = {launch.kernel: launch.operations for launch in artifact.plan.launches}
    assert operations["conv2d_add_relu"] == 2 * 8 * 256 * 27 + 2 * 8 * 256
    assert operations["max_pool"] == 2 * 8 * 64 * 4
    told = Artifact.load(artifact.to_bytes()).metadata["operations"]
    assert told["launches"] == [launch.operations for launch in artifact.plan.launches]


def test_of_two_launches_the_one_that_computes_has_them() -> None:
    """GPU convolutions with padding copy the image first."""
    launches = tilewright.compile(small_cnn(), "mali").plan.launches
    (pads, computes) = (launch for launch in launches if launch.kernel.startswith("conv2d_add_relu_kernel"))
    assert (pads.operations, computes.operations) == (0, 2 * 8 * 256 * 27 + 2 * 8 * 256)


def test_a_product() -> None:
    constants = {"w": np.ones((7, 3), np.float32)}
    node = helper.make_node("MatMul", ["x", "w"], ["y"], name="product")
    model = make_model([node], {"x": (TensorProto.FLOAT, [5, 7])}, {"y": (TensorProto.FLOAT, [5, 3])}, constants)
    launches = tilewright.compile(model, "cpu").plan.launches
    assert sum(launch.operations for launch in launches) == 2 * math.prod((5, 7, 3))
