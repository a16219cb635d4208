"""The CUDA back end against a stand-in for the driver: which calls it makes, in what order, and that it ends clean.

What this cannot show is that a real driver likes them; on a machine with an NVIDIA GPU, test_a_real_gpu does.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tilewright.artifact import Artifact
from tilewright.plan import Image, Module, Plan
from tilewright.runtime import Session, devices

from . import toys

PTX = """.version 6.0
.target sm_53
.address_size 64
.visible .entry {name}({parameters}) {{
  .reg .b64 %a, %b, %c, %offset;
  .reg .b32 %block, %size, %thread, %i;
  .reg .f32 %x, %y;
  mov.u32 %block, %ctaid.x;
  mov.u32 %size, %ntid.x;
  mov.u32 %thread, %tid.x;
  mad.lo.u32 %i, %block, %size, %thread;
  mul.wide.u32 %offset, %i, 4;
{body}
  ret;
}}
"""
LOAD = "  ld.param.u64 %{r}, [p{n}];\n  add.u64 %{r}, %{r}, %offset;\n"


def real_ptx() -> bytes:
    """add and relu, written by hand."""
    pointers = LOAD.format(r="a", n=0) + LOAD.format(r="b", n=1)
    add = PTX.format(
        name="add",
        parameters=".param .u64 p0, .param .u64 p1, .param .u64 p2",
        body=pointers + LOAD.format(r="c", n=2) + "  ld.global.f32 %x, [%a];\n  ld.global.f32 %y, [%b];\n"
        "  add.f32 %x, %x, %y;\n  st.global.f32 [%c], %x;",
    )
    relu = PTX.format(
        name="relu",
        parameters=".param .u64 p0, .param .u64 p1",
        body=pointers + "  ld.global.f32 %x, [%a];\n  max.f32 %x, %x, 0f00000000;\n  st.global.f32 [%b], %x;",
    )
    return (add + relu[relu.index(".visible") :]).encode()


def cuda_plan(*images: Image) -> Plan:
    plan = toys.plan("cuda", images[0], (2, 1, 1), 4)
    return Plan(**{**vars(plan), "modules": (Module("kernels", images),)})


@pytest.mark.skipif(
    not any(device.backend == "cuda" for device in devices()), reason="no NVIDIA GPU with a driver on this machine"
)
def test_a_real_gpu() -> None:
    x = np.linspace(-20, 20, toys.SIZE, dtype=np.float32)
    artifact = toys.artifact(cuda_plan(Image("ptx", "sm_53", (), "", real_ptx())))
    with Session(artifact.to_bytes(), profile=True) as session:
        np.testing.assert_array_equal(session.run({"x": x})["y"], toys.expected(x))
        assert session.selftest() == (0.0, 0.0)
        assert all(time.last_ns > 0 for time in session.profile())


IMAGES = (
    Image("cubin", "sm_53", (), "", b"cubin for nano"),
    Image("cubin", "sm_87", (), "", b"cubin for orin"),
    Image("ptx", "sm_53", (), "", b"ptx for all"),
)

SCRIPT = """
import sys
import numpy as np
from tilewright.errors import TilewrightError
from tilewright.runtime import Session, devices
print([d.name + ", " + d.driver for d in devices() if d.backend == "cuda"])
x = np.linspace(-20, 20, 8, dtype=np.float32)
try:
    with Session(sys.argv[1], device=sys.argv[2] or None) as session:
        print(session.device)
        print(session.run({"x": x})["y"].tobytes().hex(), session.selftest())
        session.enable_profile()
        session.run({"x": x})
        print([(t.kernel, t.runs, t.total_ns) for t in session.profile()])
except TilewrightError as error:
    print(type(error).__name__, error)
"""


class Driver:
    """Runs SCRIPT in a process that finds the fake driver."""

    def __init__(self, folder: Path) -> None:
        source = Path(__file__).with_name("fake_cuda.c").read_text()
        toys.shared_object(source, folder)
        (folder / "kernels.so").rename(folder / "libcuda.so.1")
        self.folder = folder

    def __call__(self, artifact: Artifact, device: str = "", fail: str = "") -> tuple[list[str], list[str]]:
        log = self.folder / "log"
        log.unlink(missing_ok=True)
        artifact.save(self.folder / "toy.tw")
        environment = {
            **os.environ,
            "LD_LIBRARY_PATH": str(self.folder),
            "FAKE_CUDA_LOG": str(log),
            "FAKE_CUDA_FAIL": fail,
        }
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT, str(self.folder / "toy.tw"), device],
            capture_output=True, text=True, env=environment,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        calls = log.read_text().splitlines()
        assert_released(calls)
        return done.stdout.splitlines(), calls


def assert_released(calls: list[str]) -> None:
    """Everything made was given back, and the context was left before it was released."""
    names = [call.split()[0] for call in calls]
    for made, freed in (
        ("cuMemAlloc", "cuMemFree"),
        ("cuStreamCreate", "cuStreamDestroy"),
        ("cuModuleLoadDataEx", "cuModuleUnload"),
        ("cuEventCreate", "cuEventDestroy"),
        ("cuDevicePrimaryCtxRetain", "cuDevicePrimaryCtxRelease"),
    ):
        assert names.count(made) == names.count(freed), (made, calls)
    assert "cuDevicePrimaryCtxRelease inside" not in calls


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Driver:
    return Driver(tmp_path_factory.mktemp("cuda"))


def test_runs_profiles_and_cleans_up(driver: Driver) -> None:
    out, calls = driver(toys.artifact(cuda_plan(*IMAGES)))
    x = np.linspace(-20, 20, toys.SIZE, dtype=np.float32)
    assert out == [
        "['Fake Nano, sm_53; CUDA 12.6', 'Fake Orin, sm_87; CUDA 12.6']",
        "Fake Nano (sm_53)",
        f"{toys.expected(x).tobytes().hex()} (0.0, 0.0)",
        "[('add', 1, 1000), ('relu', 1, 1000)]",  # the fake's events are a microsecond apart
    ]
    assert "cuModuleLoadDataEx cubin for nano" in calls
    assert calls.count("cuLaunchKernel 2x1x1 4x1x1") == 6
    # One allocation: arena, weights, input, output, each rounded up to 256, and 256 for empty tensors at the end.
    assert [call for call in calls if call.startswith("cuMemAlloc")] == ["cuMemAlloc 1536"]
    start = calls.index("cuMemcpyHtoDAsync ", calls.index("cuStreamSynchronize ") + 1)
    run = ["cuMemcpyHtoDAsync ", *2 * ["cuLaunchKernel 2x1x1 4x1x1"], "cuMemcpyDtoHAsync ", "cuStreamSynchronize "]
    assert calls[start : start + 5] == run


@pytest.mark.parametrize(
    ("kinds", "loaded"),
    [
        ([0, 1, 2], "cubin for orin"),
        ([0, 2], "ptx for all"),  # a cubin of another major version does not run
        ([2, 1], "ptx for all"),  # the first that fits
    ],
)
def test_picks_code_by_compute_capability(driver: Driver, kinds: list[int], loaded: str) -> None:
    _, calls = driver(toys.artifact(cuda_plan(*(IMAGES[kind] for kind in kinds))), device="orin")
    assert [call for call in calls if call.startswith("cuModuleLoad")] == [f"cuModuleLoadDataEx {loaded}"]


def test_errors_name_what_is_wrong(driver: Driver) -> None:
    artifact = toys.artifact(cuda_plan(*IMAGES))
    newer = toys.artifact(cuda_plan(Image("ptx", "sm_80", (), "", b"ptx"), Image("elf", "x86_64", (), "", b"")))
    broken = toys.artifact(cuda_plan(Image("ptx", "sm_53", (), "", b"broken")))

    def error(found: tuple[list[str], list[str]]) -> str:
        return "\n".join(found[0][1:])

    assert ("module kernels has no code for this device; ptx sm_80: Fake Nano is sm_53; elf x86_64: not CUDA") in error(
        driver(newer)
    )
    assert "module kernels\nptxas: line 1: syntax error" in error(driver(broken))
    first = len([device for device in devices() if device.backend != "cuda"])
    listed = f"no CUDA device 'volta'; there are {first}: Fake Nano; {first + 1}: Fake Orin"
    assert listed in error(driver(artifact, device="volta"))
    text = error(driver(artifact, fail="cuLaunchKernel"))
    assert "cuLaunchKernel failed: CUDA_ERROR_LAUNCH_FAILED (719) for kernel 'add' (bias, sum)" in text


@pytest.mark.parametrize("call", ["cuModuleGetFunction", "cuMemcpyHtoDAsync", "cuStreamSynchronize"])
def test_a_failed_load_gives_everything_back(driver: Driver, call: str) -> None:
    out, _ = driver(toys.artifact(cuda_plan(*IMAGES)), fail=call)
    assert out[1].startswith("DeviceError")
    assert f"{call} failed: CUDA_ERROR_LAUNCH_FAILED (719)" in out[1]


def test_the_prologue_runs_at_load_in_memory_that_is_freed(driver: Driver) -> None:
    out, calls = driver(toys.artifact(toys.compressed(cuda_plan(*IMAGES))))
    x = np.linspace(-20, 20, toys.SIZE, dtype=np.float32)
    assert out[2] == f"{toys.expected(x).tobytes().hex()} (0.0, 0.0)"
    # Arena, static arena, input, output, and 256; then the temporary arena, the expanded constant, and 256.
    assert [call for call in calls if call.startswith("cuMemAlloc")] == ["cuMemAlloc 1792", "cuMemAlloc 1024"]
    first_free = calls.index("cuMemFree ")
    early = [call for call in calls[:first_free] if call.startswith(("cuLaunch", "cuMemcpy"))]
    assert early == ["cuMemcpyHtoDAsync ", "cuLaunchKernel 2x1x1 4x1x1", "cuMemcpyDtoDAsync "]
    assert calls[first_free - 1] == "cuStreamSynchronize "


@pytest.mark.parametrize("call", ["cuLaunchKernel", "cuMemcpyDtoDAsync"])
def test_a_failed_prologue_gives_everything_back(driver: Driver, call: str) -> None:
    out, _ = driver(toys.artifact(toys.compressed(cuda_plan(*IMAGES))), fail=call)
    assert out[1].startswith("DeviceError")
    assert f"{call} failed: CUDA_ERROR_LAUNCH_FAILED (719)" in out[1]
