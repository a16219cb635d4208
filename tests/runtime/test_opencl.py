"""The OpenCL back end, on whatever OpenCL device there is (PoCL in CI)."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from tilewright.artifact import Artifact
from tilewright.errors import ArtifactError, DeviceError
from tilewright.plan import COPY, Buffer, BufferKind, Image, Launch, Module
from tilewright.runtime import Session, devices

from . import toys

X = np.linspace(-20, 20, toys.SIZE, dtype=np.float32)


def test_runs(opencl_toy: Artifact, tmp_path: Path) -> None:
    with Session(opencl_toy.to_bytes(), cache_dir="") as session:
        for shift in (0, 1, -3):
            # Exact: one addition and one maximum in float32, as NumPy does them.
            np.testing.assert_array_equal(session.run({"x": X + shift})["y"], toys.expected(X + shift))
        assert session.selftest() == (0.0, 0.0)


def test_the_second_load_compiles_nothing(opencl_toy: Artifact, tmp_path: Path) -> None:
    folder = tmp_path / "made" / "on demand"

    def load() -> tuple[int, int]:
        with Session(opencl_toy.to_bytes(), cache_dir=folder) as session:
            np.testing.assert_array_equal(session.run({"x": X})["y"], toys.expected(X))
            stats = session.stats()
            return stats.programs_compiled, stats.programs_cached

    assert load() == (1, 0)
    assert load() == (0, 1)
    (entry,) = folder.iterdir()
    whole = entry.read_bytes()
    for damage in (whole[:-1], whole[:10], b"", whole[:100] + b"\0\xff" + whole[102:], b"nonsense" * 100):
        entry.write_bytes(damage)
        assert load() == (1, 0)
        assert load() == (0, 1)
    other = toys.artifact(toys.opencl_plan(toys.OPENCL_SOURCE + b"// changed"))
    with Session(other.to_bytes(), cache_dir=folder) as session:
        assert session.stats().programs_compiled == 1
    assert len(list(folder.iterdir())) == 2


def test_profile_and_trace(opencl_toy: Artifact, tmp_path: Path) -> None:
    with Session(opencl_toy.to_bytes(), cache_dir="") as session:
        session.run({"x": X})
        session.enable_profile()
        session.run({"x": X})
        session.run({"x": X})
        assert [(time.kernel, time.layers, time.runs) for time in session.profile()] == [
            ("add", "bias, sum", 2),
            ("relu", "activation", 2),
        ]
        assert all(time.last_ns > 0 for time in session.profile())
        session.trace(tmp_path / "trace.json")
        session.enable_profile(False)
        np.testing.assert_array_equal(session.run({"x": X})["y"], toys.expected(X))
    events = json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    assert events[0]["args"] == {"layers": "bias, sum", "grid": [2, 1, 1], "block": [4, 1, 1]}


def test_copies_and_shared_arena(opencl_toy: Artifact) -> None:
    plan = opencl_toy.plan
    buffers = (
        *plan.buffers[:3],
        Buffer("u", BufferKind.ARENA, "float32", (toys.SIZE,), 0),
        Buffer("y", BufferKind.OUTPUT, "float32", (toys.SIZE,)),
        Buffer("e", BufferKind.ARENA, "float32", (0,), 512),
        Buffer("z", BufferKind.OUTPUT, "float32", (0, 2)),
    )
    copies = (Launch("copy", COPY, (2, 3)), Launch("copy", COPY, (3, 4)), Launch("copy", COPY, (5, 6)))
    changed = dataclasses.replace(plan, buffers=buffers, outputs=(4, 6), launches=(plan.launches[0], *copies))
    with Session(Artifact(changed).to_bytes(), cache_dir="", profile=True) as session:
        found = session.run({"x": X})
    np.testing.assert_array_equal(found["y"], X + toys.WEIGHTS)
    assert found["z"].shape == (0, 2)


def test_errors_name_what_is_wrong(opencl_toy: Artifact) -> None:
    plan = opencl_toy.plan

    def error(**fields: object) -> str:
        launches = (dataclasses.replace(plan.launches[0], **fields),)  # type: ignore[arg-type]
        with pytest.raises((DeviceError, ArtifactError)) as caught:
            Session(Artifact(dataclasses.replace(plan, launches=launches)).to_bytes(), cache_dir="")
        return str(caught.value)

    assert "CL_INVALID_KERNEL_NAME (-46) for kernel 'gone' (bias, sum)" in error(kernel="gone")
    assert "kernel 'add' (bias, sum) has 3 parameters and is given 2 buffers" in error(args=(0, 1))
    assert "kernel 'add' (bias, sum) wants work-groups of 4194304 items" in error(block=(1 << 22, 1, 1))

    def module_error(image: Image) -> str:
        modules = (Module("kernels", (image,)),)
        with pytest.raises(DeviceError) as caught:
            Session(Artifact(dataclasses.replace(plan, modules=modules)).to_bytes(), cache_dir="")
        return str(caught.value)

    assert "lacks cl_khr_time_travel" in module_error(Image("opencl", "", ("cl_khr_time_travel",), "", b""))
    assert "not OpenCL source" in module_error(Image("ptx", "sm_53", (), "", b""))


def test_a_compiler_error_shows_the_log(opencl_toy: Artifact, capfd: pytest.CaptureFixture[str]) -> None:
    broken = toys.artifact(toys.opencl_plan(b"__kernel void add(__global float* x) { frobnicate(x); }"))
    with pytest.raises(DeviceError, match=r"(?s)module kernels does not compile on .*frobnicate"):
        Session(broken.to_bytes(), cache_dir="")


def test_devices_are_chosen_by_number_or_name(opencl_toy: Artifact) -> None:
    (device, *_) = [device for device in devices() if device.backend == "opencl"]
    for wanted in ("1", 1, device.name[:6].upper(), device.name):
        with Session(opencl_toy.to_bytes(), device=wanted, cache_dir="") as session:
            assert device.name in session.device
    with pytest.raises(DeviceError, match=r"no OpenCL device 'adreno'; there are 1: "):
        Session(opencl_toy.to_bytes(), device="adreno", cache_dir="")


def test_weights_are_expanded_and_the_prologue_runs_at_load(opencl_toy: Artifact) -> None:
    artifact = toys.artifact(toys.compressed(opencl_toy.plan))
    x = np.linspace(-20, 20, toys.SIZE, dtype=np.float32)
    with Session(artifact.to_bytes(), cache_dir="", profile=True) as session:
        for _ in range(2):
            np.testing.assert_array_equal(session.run({"x": x})["y"], toys.expected(x))
        assert [(entry.kernel, entry.runs) for entry in session.profile()] == [("add", 2), ("relu", 2)]
        owned = session.stats().owned_bytes
    wide = dataclasses.replace(artifact.plan, temporary_bytes=1 << 20)
    with Session(Artifact(wide).to_bytes(), cache_dir="") as session:
        assert session.stats().owned_bytes == owned  # what the prologue alone needs was given back
