"""Runs artifacts. Needs NumPy and the runtime's shared library alone: no TVM, no ONNX."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass

from tilewright.runtime import native
from tilewright.runtime.session import KernelTime, Session, Stats, TensorInfo

__all__ = ["Device", "KernelTime", "Session", "Stats", "TensorInfo", "devices"]


@dataclass(frozen=True)
class Device:
    """Something artifacts can run on."""

    backend: str  # "cpu", "opencl" or "cuda"
    name: str
    driver: str  # of the cpu: its instruction set extensions


def devices() -> list[Device]:
    """Everything that this machine can run artifacts on. An absent driver just adds nothing."""
    found: list[Device] = []
    info = native.DeviceInfo()
    while native.library().tw_device(len(found), ctypes.byref(info)) == 0:
        found.append(Device(native.text(info.backend), native.text(info.name), native.text(info.driver)))
    return found
