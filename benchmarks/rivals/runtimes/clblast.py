"""CLBlast, the tuned OpenCL BLAS (libclblast1): SGEMV and SGEMM in fp32, on the first OpenCL device.

What is timed is the routine and clFinish; copies of activations, which our own time includes, are not.
"""

from __future__ import annotations

import ctypes
from ctypes import byref, c_float, c_int, c_size_t, c_uint, c_uint64, c_void_p
from typing import Any

import numpy as np

from benchmarks.layers import Array, Layer
from benchmarks.rivals.base import RivalError
from benchmarks.rivals.runtimes.base import Ready, Runtime

_ALL_DEVICES = 0xFFFFFFFF
_READ_WRITE, _COPY_HOST = 1, 1 << 5
_ROW_MAJOR, _PLAIN, _TRANSPOSED = 101, 111, 112


class _Device:
    """A context and a queue on the first device."""

    def __init__(self) -> None:
        try:
            self.cl, self.blast = ctypes.CDLL("libOpenCL.so.1"), ctypes.CDLL("libclblast.so.1")
        except OSError as error:
            raise RivalError(f"apt-get install libclblast1 ocl-icd-libopencl1 ({error})") from None
        for name in ("clCreateContext", "clCreateCommandQueue", "clCreateBuffer"):
            getattr(self.cl, name).restype = c_void_p
        platforms, count, status = (c_void_p * 8)(), c_uint(), c_int()
        self._check("clGetPlatformIDs", self.cl.clGetPlatformIDs(8, platforms, byref(count)))
        device = c_void_p()
        for platform in platforms[: count.value]:
            found = self.cl.clGetDeviceIDs(c_void_p(platform), c_uint64(_ALL_DEVICES), 1, byref(device), None)
            if found == 0:
                break
        else:
            raise RivalError("no OpenCL device")
        context = self.cl.clCreateContext(None, 1, byref(device), None, None, byref(status))
        self._check("clCreateContext", status.value)
        self.context = c_void_p(context)
        queue = self.cl.clCreateCommandQueue(self.context, device, c_uint64(0), byref(status))
        self._check("clCreateCommandQueue", status.value)
        self.queue = c_void_p(queue)

    def buffer(self, array: Array) -> c_void_p:
        """A buffer with a copy of the array."""
        flat, status = np.ascontiguousarray(array, np.float32), c_int()
        flags = c_uint64(_READ_WRITE | _COPY_HOST)
        made = self.cl.clCreateBuffer(
            self.context, flags, c_size_t(flat.nbytes), flat.ctypes.data_as(c_void_p), byref(status)
        )
        self._check("clCreateBuffer", status.value)
        return c_void_p(made)

    def read(self, buffer: c_void_p, shape: tuple[int, ...]) -> Array:
        result = np.empty(shape, np.float32)
        data = result.ctypes.data_as(c_void_p)
        arguments = (self.queue, buffer, c_uint(1), c_size_t(0), c_size_t(result.nbytes), data, c_uint(0), None, None)
        self._check("clEnqueueReadBuffer", self.cl.clEnqueueReadBuffer(*arguments))
        return result

    def call(self, routine: str, *arguments: Any) -> None:
        """Runs a routine of CLBlast to its end."""
        self._check(routine, getattr(self.blast, routine)(*arguments, byref(self.queue), None))
        self._check("clFinish", self.cl.clFinish(self.queue))

    def _check(self, what: str, status: int) -> None:
        if status:
            raise RivalError(f"{what}: status {status}")


def _clblast(layer: Layer) -> Ready:
    if len(layer.w) != 2:
        raise RivalError("only products")
    device, matrix = _Device(), layer.matrix()
    (outputs, depth), rows = layer.w, layer.x[0]
    w, x = device.buffer(matrix), device.buffer(layer.sample())
    y = device.buffer(np.zeros(layer.y, np.float32))
    zero, one = c_size_t(0), c_size_t(1)
    deep, wide = c_size_t(depth), c_size_t(outputs)

    def gemv() -> None:
        a, b, c = (w, zero, deep), (x, zero, one), (y, zero, one)
        device.call("CLBlastSgemv", _ROW_MAJOR, _PLAIN, wide, deep, c_float(1), *a, *b, c_float(0), *c)

    def gemm() -> None:
        sizes = (c_size_t(rows), wide, deep)
        a, b, c = (x, zero, deep), (w, zero, deep), (y, zero, wide)
        device.call("CLBlastSgemm", _ROW_MAJOR, _PLAIN, _TRANSPOSED, *sizes, c_float(1), *a, *b, c_float(0), *c)

    run = gemv if rows == 1 else gemm

    def result() -> Array:
        run()
        return device.read(y, layer.y) + layer.bias()

    return Ready(run, matrix, result)


RUNTIMES: dict[str, Runtime] = {"clblast": _clblast}
