"""NVRTC and ptxas from the wheels."""

from __future__ import annotations

import importlib.util

import pytest

from tests.targets.gpu import needs_nvrtc
from tilewright.errors import ToolError
from tilewright.targets.nvrtc import compile_cuda, kernel_resources, wheel_folder

SPILLS = """
extern "C" __global__ void __launch_bounds__(1024, 2) greedy(float *x) {
  float a[200];
  for (int i = 0; i < 200; ++i) a[i] = x[i];
  for (int k = 0; k < 50; ++k)
#pragma unroll
    for (int i = 0; i < 200; ++i) a[i] += a[(i * 7 + 1) % 200];
  for (int i = 0; i < 200; ++i) x[i] = a[i];
}
extern "C" __global__ void modest(float *x) {
  __shared__ float y[32];
  y[threadIdx.x] = x[threadIdx.x];
  __syncthreads();
  x[threadIdx.x] = y[31 - threadIdx.x];
}
"""


def test_cubins_and_ptx() -> None:
    needs_nvrtc()
    source = 'extern "C" __global__ void twice(float *x) { x[threadIdx.x] *= 2.0f; }'
    assert compile_cuda(source, "sm_53").startswith(b"\x7fELF")
    ptx = compile_cuda(source, "compute_87").decode()
    assert ".target sm_87" in ptx
    assert ".visible .entry twice" in ptx


def test_the_compilers_log_is_in_the_error() -> None:
    needs_nvrtc()
    with pytest.raises(ToolError, match=r"(?s)sm_72.*undefined_name"):
        compile_cuda('extern "C" __global__ void wrong() { undefined_name(); }', "sm_72")


def test_ptxas_reports_registers_spills_and_shared_memory() -> None:
    needs_nvrtc()
    found = kernel_resources(compile_cuda(SPILLS, "compute_53"), "sm_53")
    assert found["modest"].spill_bytes == 0
    assert found["modest"].shared_bytes == 128
    assert 0 < found["modest"].registers < 32
    assert found["greedy"].spill_bytes > 0
    assert found["greedy"].registers <= 32  # 65536 registers for 2048 threads


def test_a_missing_wheel_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ToolError, match=r"pip install tilewright\[cuda\]"):
        wheel_folder("cuda_nvrtc")
