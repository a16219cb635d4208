"""CUDA source on its way to NVRTC, and its kernels run on the CPU."""

from __future__ import annotations

import ctypes
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from tests.targets.emulation import execute
from tilewright.plan import COPY, Plan
from tilewright.targets import jetson as jetson_module
from tilewright.targets.gpu import Generated
from tilewright.targets.jetson import Jetson


@pytest.fixture
def cuda_sources(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What would go to NVRTC, in place of NVRTC."""
    found: list[str] = []
    original = Jetson.source

    def source(self: Jetson, generated: Generated) -> str:
        found.append(original(self, generated))
        return found[-1]

    monkeypatch.setattr(Jetson, "source", source)
    monkeypatch.setattr(jetson_module, "compile_cuda", lambda source, arch: arch.encode())
    return found


def emulated(plan: Plan, source: str, x: np.ndarray, folder: Path, arch: int = 0) -> np.ndarray:
    """The output of a plan of one input and one output, its CUDA source compiled as C++ (cuda_emulation.h).

    Args:
        arch: what the source shall take itself to be compiled for, as __CUDA_ARCH__; 0 for nothing.
    """
    compiler = shutil.which("c++") or pytest.skip("no C++ compiler; install one with: apt-get install g++")
    body = source[re.search(r'^(extern "C"|static __device__)', source, re.MULTILINE).start() :]  # type: ignore[union-attr]
    entries = []
    for launch in {launch.kernel: launch for launch in plan.launches if launch.module != COPY}.values():
        types = re.search(rf"\n{launch.kernel}\(([^)]*)\)", body)
        assert types is not None
        args = ", ".join(f"({re.sub(r'__restrict__.*', '', t)})a[{i}]" for i, t in enumerate(types[1].split(",")))
        entries.append(
            f'extern "C" void run_{launch.kernel}(const unsigned* g, const unsigned* b, void** a) '
            f"{{ emulate({launch.kernel}, g, b, {args}); }}"
        )
    header = Path(__file__).with_name("cuda_emulation.h")
    (folder / "kernels.cc").write_text("\n".join([f'#include "{header}"', body, *entries]))
    library = folder / "kernels.so"
    flags = ["-std=c++17", "-O1", "-w", "-fno-strict-aliasing", "-pthread", "-shared", "-fPIC"]
    defines = [f"-D__CUDA_ARCH__={arch}"] if arch else []
    subprocess.run([compiler, *flags, *defines, "-o", str(library), str(folder / "kernels.cc")], check=True)
    kernels = ctypes.CDLL(str(library))
    return execute(plan, lambda kernel, *args: getattr(kernels, f"run_{kernel}")(*args), x)
