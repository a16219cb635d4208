"""Runs a plan on kernels that were compiled for the CPU, whatever the language they were written in."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from tilewright.plan import COPY, Buffer, Plan

Call = Callable[[str, Any, Any, Any], None]
"""Runs a kernel by its name; then its grid and its block (unsigned[3]) and its arguments (void*[])."""

_GUARD = 256  # bytes around a buffer
_ALIGNMENT = 128  # bytes, of buffers: as OpenCL has it at least (the size of long16)
_UNSET = 0xFF  # a byte of numbers that nobody wrote: NaN in every floating type


def execute(plan: Plan, call: Call, *inputs: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The one output of a plan, with an array a buffer; arena offsets are not used.

    Whatever no kernel wrote is NaN, and so is what lies around buffers, which must stay as it is: a read beyond them
    shows in the result, a write fails the test.
    """
    memory, guarded = [], []
    for buffer in plan.buffers:
        array, around = _allocated(buffer)
        memory.append(array)
        guarded.append(around)
    for index, value in zip(plan.inputs, inputs, strict=True):
        memory[index][...] = value
    for launch in (*plan.prologue, *plan.launches):
        if launch.module == COPY:
            memory[launch.args[1]][...] = memory[launch.args[0]].reshape(memory[launch.args[1]].shape)
            continue
        sizes = [(ctypes.c_uint * 3)(*size) for size in (launch.grid, launch.block)]
        pointers = (ctypes.c_void_p * len(launch.args))(*(memory[arg].ctypes.data for arg in launch.args))
        call(launch.kernel, *sizes, pointers)
        for arg in launch.args:
            ends = np.concatenate((guarded[arg][:_GUARD], guarded[arg][-_GUARD:]))
            assert (ends == _UNSET).all(), f"{launch.kernel} writes beyond {plan.buffers[arg].name}"
    return memory[plan.outputs[0]]


def _allocated(buffer: Buffer) -> tuple[npt.NDArray[Any], npt.NDArray[np.uint8]]:
    """A buffer's array, and the bytes that it lies in."""
    size = buffer.nbytes + 2 * _GUARD
    larger = np.full(size + _ALIGNMENT, _UNSET, np.uint8)
    start = -larger.ctypes.data % _ALIGNMENT
    around = larger[start : start + size]
    array = around[_GUARD : _GUARD + buffer.nbytes].view(buffer.dtype).reshape(buffer.shape)
    if buffer.data is not None:
        array[...] = buffer.data
    return array, around
