"""Small artifacts with kernels written by hand, and damage to do to artifacts."""

from __future__ import annotations

import platform
import shutil
import struct
import subprocess
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tilewright.artifact import Artifact, Selftest
from tilewright.plan import COPY, ENTROPY, Buffer, BufferKind, Image, Launch, Module, Plan

ROOT = Path(__file__).parents[2]
SIZE = 8
WEIGHTS = np.arange(SIZE, dtype=np.float32)

# y = relu(x + w): one plain kernel, and one that calls the runtime as TVM's generated code does: a parallel loop
# and a workspace through weak pointer slots.
C_SOURCE = """
#include <stddef.h>
#include <stdint.h>
typedef struct { void* sync_handle; int32_t num_task; } Env;
typedef int (*Task)(int, Env*, void*);
__attribute__((weak)) int (*__TVMBackendParallelLaunch)(Task, void*, int);
__attribute__((weak)) void* (*__TVMBackendAllocWorkspace)(int, int, uint64_t, int, int);
__attribute__((weak)) int (*__TVMBackendFreeWorkspace)(int, int, void*);
#define SIZE 8
int32_t add(const float* a, const float* b, float* out) {
  for (int i = 0; i < SIZE; ++i) out[i] = a[i] + b[i];
  return 0;
}
static int relu_part(int task, Env* env, void* closure) {
  float** p = closure;
  int chunk = (SIZE + env->num_task - 1) / env->num_task;
  for (int i = task * chunk; i < SIZE && i < (task + 1) * chunk; ++i) p[1][i] = p[0][i] > 0 ? p[0][i] : 0;
  return 0;
}
int32_t relu(float* in, float* out) {
  float* block = __TVMBackendAllocWorkspace(1, 0, SIZE * 4, 2, 32);
  if (block == NULL) return -1;
  for (int i = 0; i < SIZE; ++i) block[i] = in[i];
  void* closure[2] = {block, out};
  int code = __TVMBackendParallelLaunch(relu_part, closure, 0);
  return __TVMBackendFreeWorkspace(1, 0, block) ? -1 : code;
}
int32_t fail(float* in, float* out) { return 42; }
int32_t hungry(float* in, float* out) { return __TVMBackendAllocWorkspace(1, 0, 1 << 20, 2, 32) ? 0 : -1; }
"""

OPENCL_SOURCE = b"""
__kernel void add(__global const float* a, __global const float* b, __global float* out) {
  int i = get_global_id(0);
  out[i] = a[i] + b[i];
}
__kernel void relu(__global const float* in, __global float* out) {
  int i = get_global_id(0);
  out[i] = fmax(in[i], 0.0f);
}
"""


def shared_object(source: str, folder: Path, compiler: str = "cc") -> bytes:
    """C source as the bytes of a shared object."""
    tool = shutil.which(compiler)
    if tool is None:
        pytest.skip(f"no C compiler {compiler}: apt-get install gcc")
    (folder / "kernels.c").write_text(source)
    library = folder / "kernels.so"
    subprocess.run([tool, "-O1", "-shared", "-fPIC", "-o", library, folder / "kernels.c"], check=True)
    return library.read_bytes()


def plan(backend: str, image: Image, grid: tuple[int, int, int] = (1, 1, 1), block: int = 1) -> Plan:
    """relu(x + w) over eight floats."""
    buffers = (
        Buffer("x", BufferKind.INPUT, "float32", (SIZE,)),
        Buffer("w", BufferKind.CONSTANT, "float32", (SIZE,), 0, WEIGHTS),
        Buffer("t", BufferKind.ARENA, "float32", (SIZE,), 256),
        Buffer("y", BufferKind.OUTPUT, "float32", (2, SIZE // 2)),
    )
    launches = (
        Launch("add", 0, (0, 1, 2), grid, (block, 1, 1), ("bias", "sum")),
        Launch("relu", 0, (2, 3), grid, (block, 1, 1), ("activation",)),
    )
    return Plan(backend, backend, buffers, (0,), (3,), launches, (Module("kernels", (image,)),), 512, SIZE * 4)


def compressed(plan: Plan) -> Plan:
    """The plan with entropy-coded weights that are prepared at load: by relu, which changes none, and a copy."""
    launch = plan.launches[1]
    coded = replace(plan.buffers[1], name="w.coded", storage=ENTROPY, symbol_bits=32)
    buffers = (
        plan.buffers[0],
        Buffer("w", BufferKind.STATIC, "float32", (SIZE,), 256),
        *plan.buffers[2:],
        coded,
        Buffer("w.early", BufferKind.TEMPORARY, "float32", (SIZE,), 256),
    )
    prologue = (replace(launch, args=(4, 5), layers=("prepare",)), Launch("copy", COPY, (5, 1)))
    return replace(plan, buffers=buffers, prologue=prologue, static_bytes=512, temporary_bytes=512)


def expected(x: np.ndarray) -> np.ndarray:
    """What the plan computes."""
    return np.maximum(x + WEIGHTS, 0).reshape(2, SIZE // 2)


def artifact(plan: Plan) -> Artifact:
    """The plan with metadata and a self-test."""
    x = np.linspace(-9, 3, SIZE, dtype=np.float32)
    return Artifact(plan, {"report": [1, 2]}, Selftest({"x": x}, {"y": expected(x)}, 0.0))


def cpu_plan(code: bytes, arch: str = platform.machine(), features: tuple[str, ...] = ()) -> Plan:
    """The plan on the cpu back end."""
    return plan("cpu", Image("elf", arch, features, "", code))


def opencl_plan(source: bytes = OPENCL_SOURCE) -> Plan:
    """The plan on the OpenCL back end."""
    return plan("opencl", Image("opencl", "", (), "-cl-std=CL1.2", source), (SIZE // 4, 1, 1), 4)


HEADER_BYTES = 56
SEGMENT = struct.Struct("<IIQQII")


def segments(data: bytes | bytearray) -> Iterator[tuple[int, tuple[int, ...]]]:
    """Offset of each entry of the segment table, and its fields."""
    (count,) = struct.unpack_from("<I", data, 24)
    for index in range(count):
        at = HEADER_BYTES + index * SEGMENT.size
        yield at, SEGMENT.unpack_from(data, at)


def reseal(data: bytes | bytearray) -> bytes:
    """The file with its checksums made right, as an attacker would."""
    sealed = bytearray(data)
    for at, (kind, flags, offset, nbytes, _, reserved) in segments(sealed):
        crc = zlib.crc32(sealed[offset : offset + nbytes])
        SEGMENT.pack_into(sealed, at, kind, flags, offset, nbytes, crc, reserved)
    struct.pack_into("<I", sealed, 32, 0)
    (count,) = struct.unpack_from("<I", sealed, 24)
    struct.pack_into("<I", sealed, 32, zlib.crc32(sealed[: HEADER_BYTES + count * SEGMENT.size]))
    return bytes(sealed)
