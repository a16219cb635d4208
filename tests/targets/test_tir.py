"""Lowering of scheduled PrimFuncs: launches read from the host side, C functions, byte sizes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tvm
from tvm import relax, tirx
from tvm.s_tir import dlight

from tilewright.lower.extract import kernels_of
from tilewright.targets.tir import DeviceCall, device_lower, dtype_bytes, host_lower

OPENCL = {"kind": "opencl", "device": "mali", "host": "llvm", "max_num_threads": 256}


def two_kernel_module() -> Any:
    """softmax over 300 columns, which dlight's fallback turns into several launches with workspaces between them."""
    builder = relax.BlockBuilder()
    x = relax.Var("x", relax.TensorType((4, 300), "float32"))
    with builder.function("main", [x]):
        with builder.dataflow():
            y = builder.emit(relax.op.nn.softmax(x))
            out = builder.emit_output(relax.op.add(y, relax.const(np.ones(300, "float32"))))
        builder.emit_func_output(out)
    mod = relax.transform.LegalizeOps()(builder.get())
    with tvm.target.Target(OPENCL):
        return dlight.ApplyDefaultSchedule(dlight.gpu.Fallback())(mod)


def test_device_lower_reads_every_launch() -> None:
    kernels = kernels_of(two_kernel_module())
    lowered = device_lower(kernels, tvm.target.Target(OPENCL))
    entries = {var.name_hint for var in lowered.module.functions}
    assert {call.entry for function in lowered.functions.values() for call in function.calls} == entries
    softmax = lowered.functions["softmax"]
    assert len(softmax.calls) > 1
    assert len(softmax.workspaces) > 0
    params = len(kernels["softmax"].params)
    for call in softmax.calls:
        assert all(-len(softmax.workspaces) <= arg < params for arg in call.args)
        assert call.block[0] * call.block[1] * call.block[2] <= 256
    written = {arg for call in softmax.calls for arg in call.args if arg < 0}
    assert written == {-1 - index for index in range(len(softmax.workspaces))}


def test_device_source_has_the_entries() -> None:
    lowered = device_lower(kernels_of(two_kernel_module()), tvm.target.Target(OPENCL))
    source = tvm.get_global_func("target.build.opencl")(lowered.module, lowered.target).inspect_source()
    for function in lowered.functions.values():
        for call in function.calls:
            assert f"__kernel void {call.entry}(" in source


def test_host_lower_has_pointer_parameters_and_counts_scratch() -> None:
    mod = relax.transform.LegalizeOps()(_softmax_module())
    lowered = host_lower(kernels_of(mod), tvm.target.Target("llvm"))
    (func,) = (func for _, func in lowered.module.functions.items())
    assert all(str(param.ty).startswith("T.handle") for param in func.params)
    # three temporaries of TVM's softmax: max (4), exp (4 x 300), sum (4)
    assert lowered.scratch_bytes >= 4 * (4 + 4 * 300 + 4)


def _softmax_module() -> Any:
    builder = relax.BlockBuilder()
    x = relax.Var("x", relax.TensorType((4, 300), "float32"))
    with builder.function("main", [x]):
        with builder.dataflow():
            out = builder.emit_output(relax.op.nn.softmax(x))
        builder.emit_func_output(out)
    return builder.get()


@pytest.mark.parametrize(
    ("dtype", "nbytes"), [("float32", 4), ("float16x8", 16), ("int8", 1), ("bool", 1), ("uint32x4", 16), ("int64", 8)]
)
def test_dtype_bytes(dtype: str, nbytes: int) -> None:
    assert dtype_bytes(dtype) == nbytes


def test_dtype_bytes_refuses_handles() -> None:
    with pytest.raises(ValueError, match="handle"):
        dtype_bytes("handle")


def test_calls_compare_by_value() -> None:
    assert DeviceCall("k", (0,), (1, 1, 1), (1, 1, 1)) == DeviceCall("k", (0,), (1, 1, 1), (1, 1, 1))
    assert isinstance(next(iter(kernels_of(_legal()).values())), tirx.PrimFunc)


def _legal() -> Any:
    return relax.transform.LegalizeOps()(_softmax_module())
