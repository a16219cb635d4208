"""The cpu target: devices, what the linked code shows and needs, cross compilation, refusals."""

from __future__ import annotations

import ctypes
import dataclasses
import shutil
import subprocess
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import tilewright
from tests.models import make_model, small_cnn
from tests.runtime.conftest import cmake_build  # noqa: F401  (a fixture, as is the next)
from tests.runtime.test_aarch64 import arm_build  # noqa: F401
from tests.runtime.test_aarch64 import run as run_on_arm
from tests.targets.running import check, expected, levels_here
from tilewright.artifact import Selftest
from tilewright.errors import ToolError, UsageError
from tilewright.plan import Plan
from tilewright.targets import device_facts, device_names, resolve
from tilewright.targets.cpu import host_device
from tilewright.targets.cpu_link import find_linker, link_shared

DEVICES = [name for name in device_names() if name.startswith("cpu-")]
FACTS = {
    "description",
    "arch",
    "triple",
    "mcpu",
    "mattr",
    "features",
    "vector_bytes",
    "vector_registers",
    "l1_bytes",
    "l2_bytes",
    "l3_bytes",
    "winograd",
}
SLOTS = {"__TVMBackendAllocWorkspace", "__TVMBackendFreeWorkspace", "__TVMBackendParallelLaunch"}


def needs_linker(device: str) -> None:
    try:
        find_linker(device_facts(device)["arch"])
    except ToolError as error:
        pytest.skip(str(error))


def elf(plan: Plan) -> bytes:
    (module,) = plan.modules
    (image,) = module.images
    assert image.kind == "elf"
    return image.data


@pytest.mark.parametrize("device", DEVICES)
def test_device_facts_are_complete(device: str) -> None:
    facts = device_facts(device)
    assert set(facts) == FACTS
    assert facts["triple"].startswith(facts["arch"])
    assert facts["vector_bytes"] in (16, 32, 64)


def test_bare_cpu_is_this_machine() -> None:
    assert resolve("cpu").device.name == host_device()


def test_half_precision_is_refused() -> None:
    with pytest.raises(UsageError, match="fp32 only"):
        resolve("cpu-avx2", "fp16")


@pytest.mark.parametrize("threads", [1, 2])
def test_small_network(threads: int) -> None:
    x = np.random.default_rng(0).standard_normal((1, 3, 16, 16), dtype=np.float32)
    for level in levels_here():
        check(small_cnn(), {"x": x}, level, threads=threads)


@pytest.mark.parametrize("device", ["cpu-avx2", "cpu-neon"])
def test_only_kernels_are_visible_and_only_libc_is_needed(device: str, tmp_path: Path) -> None:
    needs_linker(device)
    if shutil.which("nm") is None:
        pytest.skip("no nm; run: apt install binutils")
    plan = tilewright.compile(small_cnn(), target=device).plan
    path = tmp_path / "kernels.so"
    path.write_bytes(elf(plan))
    lines = subprocess.run(["nm", "-D", path], capture_output=True, text=True, check=True).stdout.splitlines()
    symbols = [line.split()[-2:] for line in lines]
    defined = {name.split("@")[0] for kind, name in symbols if kind != "U" and kind != "w"}
    needed = {name.split("@")[0] for kind, name in symbols if kind == "U"}
    kernels = {launch.kernel for launch in plan.launches if launch.module >= 0}
    assert kernels <= defined <= kernels | SLOTS
    libraries = [ctypes.CDLL("libm.so.6"), ctypes.CDLL("libc.so.6")]
    assert all(any(hasattr(library, name) for library in libraries) for name in needed), needed


@pytest.mark.parametrize(("device", "machine"), [("cpu-neon", 0xB7), ("cpu-dotprod", 0xB7), ("cpu-avx512", 0x3E)])
def test_image_is_for_the_device(device: str, machine: int) -> None:
    needs_linker(device)
    data = elf(tilewright.compile(small_cnn(), target=device).plan)
    assert data[:4] == b"\x7fELF"
    assert int.from_bytes(data[18:20], "little") == machine  # e_machine


def test_missing_linker_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tilewright.targets.cpu_link.shutil.which", lambda name: None)
    monkeypatch.setattr("tilewright.targets.cpu_link.importlib.util.find_spec", lambda name: None)
    with pytest.raises(ToolError, match=r"apt install g\+\+"):
        find_linker("aarch64")


def test_linker_failure_carries_its_message() -> None:
    needs_linker(host_device())
    with pytest.raises(ToolError, match="could not link"):
        link_shared([b"not an object"], ["kernel"], device_facts(host_device())["arch"])


def arm_network() -> onnx.ModelProto:
    """Every template once: convolutions, direct and by minimal filtering, depthwise, pooling, a product of activations,
    softmax, dense."""
    rng = np.random.default_rng(0)

    def weight(*shape: int) -> np.ndarray:
        return (rng.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32)

    constants = {
        "w1": weight(24, 3, 3, 3),
        "w2": weight(37, 24, 1, 1),
        "w3": weight(37, 1, 3, 3),
        "w4": weight(20, 37, 5, 3),
        "w5": weight(30, 20).T.copy(),
        "w6": weight(37, 37, 3, 3),
        "b": weight(37, 1)[:, 0],
    }
    nodes = [
        helper.make_node("Conv", ["x", "w1"], ["c1"], pads=[1, 1, 1, 1], strides=[2, 2]),
        helper.make_node("Conv", ["c1", "w2", "b"], ["c2"]),
        helper.make_node("HardSwish", ["c2"], ["a2"]),
        helper.make_node("Conv", ["a2", "w3"], ["c3"], pads=[1, 1, 1, 1], group=37),
        helper.make_node("Add", ["c3", "a2"], ["r3"]),
        helper.make_node("Conv", ["r3", "w6", "b"], ["c6"], pads=[1, 1, 1, 1]),
        helper.make_node("MaxPool", ["c6"], ["p3"], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
        helper.make_node("Conv", ["p3", "w4"], ["c4"], pads=[2, 1, 2, 1]),
        helper.make_node("Sigmoid", ["c4"], ["a4"]),
        helper.make_node("Flatten", ["a4"], ["f"], axis=2),
        helper.make_node("Transpose", ["f"], ["t"], perm=[1, 0]),
        helper.make_node("MatMul", ["f", "t"], ["m"]),
        helper.make_node("Softmax", ["m"], ["s"]),
        helper.make_node("MatMul", ["s", "w5"], ["y"]),
    ]
    return make_model(
        nodes, {"x": (TensorProto.FLOAT, [1, 3, 20, 20])}, {"y": (TensorProto.FLOAT, [20, 30])}, constants
    )


@pytest.mark.parametrize(("device", "core"), [("cpu-neon", "cortex-a53"), ("cpu-dotprod", "cortex-a76")])
def test_every_template_on_an_emulated_arm_core(
    arm_build: Path,  # noqa: F811
    tmp_path: Path,
    device: str,
    core: str,
) -> None:
    """Against onnxruntime here, within 1e-5 relative L2: sums in another order, and approximations of exp."""
    model = arm_network()
    x = np.random.default_rng(1).standard_normal((1, 3, 20, 20), dtype=np.float32)
    artifact = tilewright.compile(model, target=device)
    assert any("winograd" in launch.kernel for launch in artifact.plan.launches)
    selftest = Selftest({"x": x}, expected(model, {"x": x}), 1e-5)
    path = tmp_path / "arm.tw"
    dataclasses.replace(artifact, selftest=selftest).save(path)
    done = run_on_arm(arm_build, core, path, "--selftest", "--threads", 2)
    assert done.returncode == 0, done.stderr
    assert "self-test passed on aarch64" in done.stdout


def test_every_template_here() -> None:
    x = np.random.default_rng(1).standard_normal((1, 3, 20, 20), dtype=np.float32)
    for level in levels_here():
        check(arm_network(), {"x": x}, level)
