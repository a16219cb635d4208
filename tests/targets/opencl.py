"""OpenCL C compiled for the CPU by clang, which has halves where PoCL has none."""

from __future__ import annotations

import ctypes
import platform
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from tests.targets.emulation import Call, execute
from tilewright.plan import Plan
from tilewright.targets.opencl_source import split

_HERE = Path(__file__).parent
# Every operation on halves rounds its result; F16C, which x86-64 has since 2012, does it without a library.
_FLAGS = ["-O1", "-w", "-fPIC", "-ffp-contract=off", *(["-mf16c"] if platform.machine() == "x86_64" else [])]
_OPENCL = ["-x", "cl", "-cl-std=CL1.2", "-Xclang", "-cl-ext=-all,+cl_khr_fp16"]
_OPENCL += ["-include", str(_HERE / "opencl_emulation.h")]


def built(text: str, folder: Path) -> ctypes.CDLL:
    """A program as a shared object; skips the test where there is no clang.

    It has ``emulate`` (opencl_emulation.c), and ``items_<kernel>`` to give it for every kernel.
    """
    clang = shutil.which("clang") or pytest.skip("no clang; install it with: apt-get install clang")
    entries = []
    for name, kernel in split(text)[1].items():
        params = re.search(r"\(([^()]*)\) \{\n", kernel)
        assert params is not None
        args = ", ".join(f"({re.sub(r'restrict .*', '', t)})a[{i}]" for i, t in enumerate(params[1].split(",")))
        entries.append(f"void items_{name}(__global const ulong* a) {{ {name}({args}); }}\n")
    (folder / "kernels.cl").write_text("\n".join([text, *entries]))
    kernels, library = str(folder / "kernels.o"), str(folder / "kernels.so")
    _run(clang, *_OPENCL, *_FLAGS, "-c", "-o", kernels, str(folder / "kernels.cl"))
    _run(clang, *_FLAGS, "-shared", "-Wl,-z,defs", "-o", library, str(_HERE / "opencl_emulation.c"), kernels, "-lm")
    return ctypes.CDLL(library)


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[:4000]


def emulated(plan: Plan, folder: Path, *inputs: npt.NDArray[np.generic]) -> npt.NDArray[Any]:
    """The one output of a plan in OpenCL C, run on the CPU."""
    ((image,),) = (module.images for module in plan.modules)
    return execute(plan, caller(built(image.data.decode(), folder)), *inputs)


def caller(library: ctypes.CDLL) -> Call:
    """What runs a kernel of a library that ``built`` gave."""

    def call(kernel: str, grid: Any, block: Any, args: Any) -> None:
        apart = library.emulate(getattr(library, f"items_{kernel}"), grid, block, args)
        assert not apart, f"work-items of {kernel} meet different barriers"

    return call
