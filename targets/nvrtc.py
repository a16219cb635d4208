"""NVRTC and ptxas from NVIDIA's PyPI wheels (extra ``cuda``): CUDA C++ to cubin and PTX without a CUDA installation."""

from __future__ import annotations

import ctypes
import importlib.util
import re
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tilewright.errors import ToolError

_INSTALL = "install it with: pip install tilewright[cuda]"


@dataclass(frozen=True)
class Resources:
    """What ptxas reports of one kernel: 32-bit registers a thread, bytes of spills, of stack and of shared memory."""

    registers: int
    spill_bytes: int
    stack_bytes: int
    shared_bytes: int


def wheel_folder(package: str) -> Path:
    """Where a component of the CUDA wheels (``cuda_nvrtc``, ``cuda_nvcc``...) is installed.

    Raises:
        ToolError: it is not installed.
    """
    try:
        spec = importlib.util.find_spec(f"nvidia.{package}")
    except ModuleNotFoundError:
        spec = None
    if spec is None or not spec.submodule_search_locations:
        raise ToolError(f"The jetson targets need NVIDIA's compiler ({package} of CUDA 12); {_INSTALL}")
    return Path(next(iter(spec.submodule_search_locations)))


@cache
def _library() -> ctypes.CDLL:
    found = sorted((wheel_folder("cuda_nvrtc") / "lib").glob("libnvrtc.so.*"))
    if not found:
        raise ToolError(f"libnvrtc.so is missing from {wheel_folder('cuda_nvrtc')}; {_INSTALL}")
    return ctypes.CDLL(str(found[0]))


def _include_flags() -> list[str]:
    return [f"-I{wheel_folder(package) / 'include'}" for package in ("cuda_cccl", "cuda_runtime")]


def compile_cuda(source: str, arch: str) -> bytes:
    """Compiles CUDA C++.

    Args:
        arch: ``sm_53`` gives a cubin for exactly that GPU, ``compute_53`` gives PTX for it and all newer ones.

    Raises:
        ToolError: NVRTC is not installed, or refuses the source; the message holds its log.
    """
    library = _library()
    program = ctypes.c_void_p()
    _call("nvrtcCreateProgram", ctypes.byref(program), source.encode(), b"kernels.cu", 0, None, None)
    try:
        options = [f"--gpu-architecture={arch}", "-std=c++17", "-default-device", *_include_flags()]
        array = (ctypes.c_char_p * len(options))(*(option.encode() for option in options))
        if library.nvrtcCompileProgram(program, len(options), array):
            log = _result(program, "ProgramLog").decode(errors="replace")
            raise ToolError(f"NVRTC refuses the generated CUDA source for {arch}:\n{log[:4000]}")
        return _result(program, "CUBIN") if arch.startswith("sm_") else _result(program, "PTX").rstrip(b"\0")
    finally:
        library.nvrtcDestroyProgram(ctypes.byref(program))


def _result(program: ctypes.c_void_p, what: str) -> bytes:
    size = ctypes.c_size_t()
    _call(f"nvrtcGet{what}Size", program, ctypes.byref(size))
    data = ctypes.create_string_buffer(size.value)
    _call(f"nvrtcGet{what}", program, data)
    return data.raw


def _call(function: str, *args: object) -> None:
    code = getattr(_library(), function)(*args)
    if code:
        _library().nvrtcGetErrorString.restype = ctypes.c_char_p
        raise ToolError(f"{function}: {_library().nvrtcGetErrorString(code).decode()}")


def kernel_resources(ptx: bytes, arch: str) -> dict[str, Resources]:
    """Assembles PTX with ``ptxas -v`` and reads its report, by kernel name.

    Raises:
        ToolError: ptxas is not installed or fails.
    """
    ptxas = wheel_folder("cuda_nvcc") / "bin" / "ptxas"
    with tempfile.TemporaryDirectory(prefix="tilewright-ptxas-") as folder:
        path = Path(folder) / "kernels.ptx"
        path.write_bytes(ptx)
        command: Sequence[str] = (str(ptxas), "-v", f"-arch={arch}", "-o", str(path.with_suffix(".cubin")), str(path))
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ToolError(f"ptxas fails for {arch}:\n{done.stderr[:4000]}")
    found = {}
    for part in done.stderr.split("Compiling entry function ")[1:]:
        name = part.split("'")[1]
        found[name] = Resources(
            registers=_number(r"Used (\d+) registers", part),
            spill_bytes=_number(r"(\d+) bytes spill stores", part) + _number(r"(\d+) bytes spill loads", part),
            stack_bytes=_number(r"(\d+) bytes stack frame", part),
            shared_bytes=_number(r"(\d+) bytes smem", part),
        )
    return found


def _number(pattern: str, text: str) -> int:
    match = re.search(pattern, text)
    return int(match[1]) if match else 0
