"""The runtime built for 64-bit Arm, run by an emulator of two cores: Cortex-A53 (no dot product) and Cortex-A76."""

from __future__ import annotations

import dataclasses
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

import tilewright
from tilewright.artifact import Artifact, Selftest
from tilewright.plan import Image, Module
from tilewright.runtime import Session

from . import toys
from .conftest import CMakeBuild
from .test_build import LIMIT_BYTES

SYSROOT = Path("/usr/aarch64-linux-gnu")
COMPILER = "aarch64-linux-gnu-gcc"
CORES = ("cortex-a53", "cortex-a76")


@pytest.fixture(scope="session")
def arm_build(cmake_build: CMakeBuild) -> Path:
    """The folder of the cross build."""
    if shutil.which("aarch64-linux-gnu-g++") is None:
        pytest.skip("no cross compiler: apt-get install g++-aarch64-linux-gnu")
    if shutil.which("qemu-aarch64-static") is None:
        pytest.skip("no emulator: apt-get install qemu-user-static")
    toolchain = toys.ROOT / "runtime" / "aarch64.cmake"
    return cmake_build("aarch64", f"-DCMAKE_TOOLCHAIN_FILE={toolchain}", "-DTILEWRIGHT_TOOLS=ON")


@pytest.fixture(scope="session")
def arm_code(arm_build: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Kernels for 64-bit Arm."""
    return toys.shared_object(toys.C_SOURCE, tmp_path_factory.mktemp("arm"), COMPILER)


def run(build: Path, core: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """``tw_run`` on an emulated core."""
    command = ["qemu-aarch64-static", "-L", SYSROOT, "-cpu", core, build / "tw_run", *arguments]
    return subprocess.run(list(map(str, command)), capture_output=True, text=True)


@pytest.mark.parametrize("core", CORES)
@pytest.mark.parametrize("threads", [1, 3])
def test_runs_on_emulated_cores(
    arm_build: Path, arm_code: bytes, cpu_code: bytes, tmp_path: Path, core: str, threads: int
) -> None:
    # One artifact for both machines: each takes the code it can run.
    images = (Image("elf", "x86_64", (), "", cpu_code), Image("elf", "aarch64", ("neon",), "", arm_code))
    plan = dataclasses.replace(toys.cpu_plan(b""), modules=(Module("kernels", images),))
    toys.artifact(plan).save(tmp_path / "toy.tw")
    test = run(arm_build, core, tmp_path / "toy.tw", "--selftest", "--threads", threads)
    assert test.returncode == 0, test.stderr
    assert "self-test passed on aarch64 cpu: relative error 0, at most 0 allowed" in test.stdout


def test_features_decide(arm_build: Path, arm_code: bytes, tmp_path: Path) -> None:
    toys.artifact(toys.cpu_plan(arm_code, "aarch64", ("neon", "dotprod"))).save(tmp_path / "toy.tw")
    old, new = (run(arm_build, core, tmp_path / "toy.tw", "--selftest") for core in CORES)
    assert (old.returncode, new.returncode) == (1, 0)
    assert "this cpu lacks dotprod" in old.stderr


def test_damage_is_refused(arm_build: Path, arm_code: bytes, tmp_path: Path) -> None:
    data = bytearray(Artifact(toys.cpu_plan(arm_code, "aarch64")).to_bytes())
    data[5000] ^= 1
    (tmp_path / "toy.tw").write_bytes(data)
    done = run(arm_build, "cortex-a53", tmp_path / "toy.tw")
    assert (done.returncode, done.stdout) == (1, "")
    assert re.search(r"damaged artifact: (checksum|bytes between)", done.stderr)


def test_the_library_is_small(arm_build: Path, tmp_path: Path) -> None:
    stripped = tmp_path / "libtilewright.so"
    subprocess.run(["aarch64-linux-gnu-strip", arm_build / "libtilewright.so", "-o", stripped], check=True)
    assert stripped.stat().st_size <= LIMIT_BYTES


@pytest.fixture(scope="session")
def digits() -> dict[str, npt.NDArray[np.generic]]:
    with np.load(toys.ROOT / "examples" / "mnist" / "digits.npz") as file:
        return {key: file[key] for key in file.files}


@pytest.mark.parametrize(("core", "target"), list(zip(CORES, ("cpu-neon", "cpu-dotprod"), strict=True)))
def test_the_demo_model_agrees_with_x86_64(
    arm_build: Path, digits: dict[str, npt.NDArray[np.generic]], tmp_path: Path, core: str, target: str
) -> None:
    """20 digits at once, x86-64's logits as the self-test. 1e-5: both add up some 10^3 products, in another order."""
    model, shapes = toys.ROOT / "examples" / "mnist" / "mnist.onnx", {"image": (20, 1, 28, 28)}
    inputs = {"image": digits["images"][:20].reshape(shapes["image"]).astype("float32") / 255}
    with Session(tilewright.compile(model, "cpu", shapes=shapes).to_bytes()) as session:
        outputs = session.run(inputs)
    artifact = tilewright.compile(model, target, shapes=shapes)
    dataclasses.replace(artifact, selftest=Selftest(inputs, outputs, 1e-5)).save(tmp_path / "mnist.tw")
    done = run(arm_build, core, tmp_path / "mnist.tw", "--selftest")
    assert done.returncode == 0, done.stderr
    assert "self-test passed on aarch64 cpu" in done.stdout
