"""Fixtures of the runtime's tests."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tilewright.artifact import Artifact
from tilewright.runtime import devices

from . import toys

CMakeBuild = Callable[..., Path]


@pytest.fixture(scope="session")
def cpu_code(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Kernels for this machine."""
    return toys.shared_object(toys.C_SOURCE, tmp_path_factory.mktemp("kernels"))


@pytest.fixture(scope="session")
def cpu_toy(cpu_code: bytes) -> Artifact:
    """relu(x + w) for this machine's cpu."""
    return toys.artifact(toys.cpu_plan(cpu_code))


@pytest.fixture(scope="session")
def compressed_toy(cpu_code: bytes) -> Artifact:
    """The same with weights that are prepared at load."""
    return toys.artifact(toys.compressed(toys.cpu_plan(cpu_code)))


@pytest.fixture
def opencl_toy() -> Artifact:
    """relu(x + w) for OpenCL."""
    if not any(device.backend == "opencl" for device in devices()):
        pytest.skip("no OpenCL device: apt-get install pocl-opencl-icd")
    return toys.artifact(toys.opencl_plan())


@pytest.fixture(scope="session")
def cmake_build() -> CMakeBuild:
    """``cmake_build("name", "-DOPTION=...", target="x")`` builds runtime/ under build/ and returns the folder.

    The folder stays between test runs, so that only what changed is compiled again; one process at a time builds in it.
    """

    def build(name: str, *options: str, target: str = "all") -> Path:
        cmake = shutil.which("cmake") or shutil.which("cmake", path=str(Path(sys.executable).parent))
        if cmake is None:
            pytest.skip("no CMake: apt-get install cmake, or pip install cmake")
        folder = toys.ROOT / "build" / f"cmake-{name}"
        jobs = str(len(os.sched_getaffinity(0)))
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            for command in (
                [cmake, "-S", str(toys.ROOT / "runtime"), "-B", str(folder), *options],
                [cmake, "--build", str(folder), "--target", target, "--parallel", jobs],
            ):
                done = subprocess.run(command, capture_output=True, text=True)
                assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
                assert "warning:" not in done.stderr, done.stderr[-4000:]
        return folder

    return build
