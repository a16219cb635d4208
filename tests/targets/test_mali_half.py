"""The numbers of OpenCL kernels in half precision: their source compiled by clang for the CPU (emulated).

``HALF`` is what rounding a number to half changes it by at most, relative to its size. Kernels add up in float32, so
that only what is stored counts: activations, weights or their scales, bias, residual, results.
"""

from __future__ import annotations

import ctypes
import math
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

import tilewright
from tests.models import make_model
from tests.targets.gpu import FLOAT, conv_and_dense, floats, gated_net, residual_net
from tests.targets.opencl import built, caller, emulated
from tests.targets.running import expected
from tests.targets.schedules.compressed_layers import (
    Conv,
    activations,
    assert_close,
    convolution,
    convolution_reference,
    matrix,
    packed,
    product,
    product_reference,
)
from tilewright.plan import Plan
from tilewright.targets import resolve

HALF = 2.0**-11
STORED = 6  # values that the path to a result rounds to half: x, w, the sum, b, r, and y


def compiled(model: Any) -> Plan:
    return tilewright.compile(model, target=resolve("mali", "fp16")).plan


def check_product(spec: str, rows: int, shape: tuple[int, int], density: float, folder: Path) -> Plan:
    weight, x = packed(matrix(*shape), spec, density), activations(rows, shape[1])
    plan = compiled(product(weight, (rows,)))
    assert plan.modules[0].images[0].features == ("cl_khr_fp16",)
    assert_close(emulated(plan, folder, x), product_reference(weight, x), HALF, STORED)
    return plan


def check_convolution(spec: str, kernel: int, folder: Path) -> Plan:
    conv = Conv(16, (6, 7), (kernel, kernel), padding=kernel // 2)
    weight = packed(matrix(24, conv.depth), spec, 0.5)
    plan = compiled(convolution(weight, conv))
    x, residual = activations(*conv.x), activations(1, 24, *conv.out, seed=3)
    wanted = convolution_reference(weight, conv, x, residual)
    assert_close(emulated(plan, folder, x, residual), wanted, HALF, STORED)
    return plan


@pytest.mark.parametrize("codec", ["f32", "f16", "int8", "int4", "int4(group=32)", "codebook(16)", "astc(6,6)"])
@pytest.mark.parametrize(("layout", "rows"), [("dense", 1), ("block_sparse(4,4)", 8)])
def test_products_equal_numpy(layout: str, rows: int, codec: str, tmp_path: Path) -> None:
    assert not check_product(f"{layout} {codec}", rows, (48, 96), 0.5, tmp_path).unpacked


@settings(max_examples=4, phases=[Phase.generate])  # shrinking would take minutes
@given(
    codec=st.sampled_from(["f32", "f16", "int3", "int8(asymmetric)", "int4(group=32,asymmetric)", "codebook(255)"]),
    layout=st.sampled_from(["dense", "block_sparse(16,1)", "block_sparse(1,16)", "block_sparse(2,4)"]),
    rows=st.sampled_from([1, 3, 8]),
    outputs=st.integers(1, 60),
    depth=st.integers(1, 140),
    density=st.sampled_from([0.01, 0.3, 1.0]),
)
def test_any_product_equals_numpy(codec: str, layout: str, rows: int, outputs: int, depth: int, density: float) -> None:
    with tempfile.TemporaryDirectory() as folder:
        check_product(f"{layout} {codec}", rows, (outputs, depth), density, Path(folder))


@pytest.mark.parametrize(
    ("spec", "kernel"),
    [
        ("dense int4", 1),
        ("block_sparse(4,4) f32", 1),
        ("block_sparse(4,4) int8", 1),
        ("block_sparse(4,4) int4(group=32)", 3),
        ("block_sparse(4,4) f16", 3),
        ("block_sparse(4,4) astc(6,6)", 1),
    ],
)
def test_convolutions_equal_numpy(spec: str, kernel: int, tmp_path: Path) -> None:
    assert not check_convolution(spec, kernel, tmp_path).unpacked


@pytest.mark.parametrize(("spec", "kernel"), [("int4", 3), ("codebook(16)", 3), ("astc(6,6)", 1)])
def test_convolutions_of_weights_unpacked_at_load(spec: str, kernel: int, tmp_path: Path) -> None:
    assert check_convolution(spec, kernel, tmp_path).unpacked


@pytest.mark.parametrize(
    ("model", "layers"),
    [(conv_and_dense(), 2), (gated_net(), 2), (residual_net(), 5)],
)
def test_networks_equal_onnxruntime(model: onnx.ModelProto, layers: int, tmp_path: Path) -> None:
    """Dense convolutions, pools, sums, activations, softmax. Every layer adds what it stores to the error, all
    relative to the largest result."""
    (image,) = model.graph.input
    x = floats(*(axis.dim_value for axis in image.type.tensor_type.shape.dim))
    wanted = expected(model, {"x": x})["y"]
    got = emulated(compiled(model), tmp_path, x)
    np.testing.assert_allclose(got, wanted, rtol=0, atol=HALF * STORED * layers * float(np.abs(wanted).max()))


def test_deep_sums_neither_drift_nor_overflow(tmp_path: Path) -> None:
    """Halves whose products add up to 102,400 on the way: what is left is rounding the result."""
    rng, channels = np.random.default_rng(0), 2048
    weights = np.repeat([100.0, -100.0], channels // 2) + rng.integers(-16, 17, (8, channels)) / 16
    x = (1 + rng.integers(-64, 65, (1, channels, 3, 3)) / 1024).astype(np.float32)
    wanted = np.einsum("oc,nchw->nohw", weights, x)
    node = onnx.helper.make_node("Conv", ["x", "w"], ["y"], name="conv")
    constants = {"w": weights.astype(np.float32).reshape(8, channels, 1, 1)}
    model = make_model([node], {"x": (FLOAT, [*x.shape])}, {"y": (FLOAT, [1, 8, 3, 3])}, constants)
    float32 = 2.0**-24 * 102_400 * math.sqrt(channels)  # a rounding of each sum, and they spread like a random walk
    np.testing.assert_allclose(emulated(compiled(model), tmp_path, x), wanted, rtol=HALF, atol=float32)


_KERNELS = """\
#pragma OPENCL EXTENSION cl_khr_fp16 : enable

__kernel __attribute__((reqd_work_group_size(64, 1, 1)))
void round_kernel(__global half* restrict y, __global const half* restrict x) {
  const int at = (int)get_group_id(0) * 64 + (int)get_local_id(0);
  y[at] = x[at] * x[at + 4096] - x[at + 8192];
}

__kernel __attribute__((reqd_work_group_size(64, 1, 1)))
void apart_kernel(__global half* restrict y, __global const half* restrict x) {
  if (get_local_id(0) < 32) barrier(CLK_LOCAL_MEM_FENCE);
  y[get_local_id(0)] = x[0];
}
"""


def test_the_emulation_rounds_every_operation_and_sees_barriers_apart(tmp_path: Path) -> None:
    """NumPy rounds halves after every operation: the same bits, subnormal numbers and infinities too."""
    call = caller(built(_KERNELS, tmp_path))
    rng = np.random.default_rng(0)
    x = (rng.standard_normal(3 * 4096) * 2.0 ** rng.integers(-14, 12, 3 * 4096)).astype(np.float16)
    y = np.zeros(4096, np.float16)
    block, args = (ctypes.c_uint * 3)(64, 1, 1), (ctypes.c_void_p * 2)(y.ctypes.data, x.ctypes.data)
    call("round_kernel", (ctypes.c_uint * 3)(64, 1, 1), block, args)
    a, b, c = x.reshape(3, 4096)
    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(y, a * b - c)
    with pytest.raises(AssertionError, match="apart_kernel meet different barriers"):
        call("apart_kernel", (ctypes.c_uint * 3)(1, 1, 1), block, args)
