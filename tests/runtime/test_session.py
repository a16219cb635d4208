"""Sessions on the cpu back end, with kernels written by hand."""

from __future__ import annotations

import dataclasses
import json
import platform
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tilewright.artifact import Artifact
from tilewright.errors import ArtifactError, DataError, DeviceError, UsageError
from tilewright.plan import COPY, Buffer, BufferKind, Image, Launch, Module, Plan
from tilewright.runtime import Session, devices

from . import toys

X = np.linspace(-20, 20, toys.SIZE, dtype=np.float32)


@pytest.fixture
def path(cpu_toy: Artifact, tmp_path: Path) -> Path:
    cpu_toy.save(tmp_path / "toy.tw")
    return tmp_path / "toy.tw"


def changed(artifact: Artifact, launch: int, **fields: object) -> bytes:
    launches = list(artifact.plan.launches)
    launches[launch] = dataclasses.replace(launches[launch], **fields)  # type: ignore[arg-type]
    return Artifact(dataclasses.replace(artifact.plan, launches=tuple(launches))).to_bytes()


@pytest.mark.parametrize("threads", [0, 1, 2, 5])
def test_runs_from_a_file_and_from_bytes(cpu_toy: Artifact, path: Path, threads: int) -> None:
    for source in (path, str(path), cpu_toy.to_bytes()):
        with Session(source, threads=threads) as session:
            for shift in (0, 1, -3):
                found = session.run({"x": X + shift})
                assert list(found) == ["y"]
                # Exact: one addition and one maximum in float32, as NumPy does them.
                np.testing.assert_array_equal(found["y"], toys.expected(X + shift))


def test_describes_the_model(path: Path) -> None:
    with Session(path) as session:
        (x,), (y,) = session.inputs, session.outputs
        assert (x.name, x.dtype, x.shape) == ("x", "float32", (8,))
        assert (y.name, y.dtype, y.shape) == ("y", "float32", (2, 4))
        assert session.target == "cpu"
        assert session.device == f"{platform.machine()} cpu"
        assert session.metadata == {"report": [1, 2]}
        assert session.selftest() == (0.0, 0.0)
        stats = session.stats()
        assert (stats.arena_bytes, stats.constant_bytes, stats.runs, stats.threads) == (512, 32, 1, 1)


def test_a_failed_self_test_is_an_error(cpu_toy: Artifact) -> None:
    assert cpu_toy.selftest is not None
    wrong = dataclasses.replace(cpu_toy.selftest, outputs={"y": cpu_toy.selftest.outputs["y"] + 1})
    with (
        Session(dataclasses.replace(cpu_toy, selftest=wrong).to_bytes()) as session,
        pytest.raises(DeviceError, match="self-test failed"),
    ):
        session.selftest()


def test_inputs_of_any_layout(path: Path) -> None:
    wide = np.stack([X, X])
    frozen = X.copy()
    frozen.flags.writeable = False
    with Session(path) as session:
        for x in (wide.T[:, 0], wide[0, ::-1], frozen, np.frombuffer(b"\0" * 3 + X.tobytes(), np.float32, 8, 3)):
            np.testing.assert_array_equal(session.run({"x": x})["y"], toys.expected(x))


def test_outputs_are_new_arrays(path: Path) -> None:
    with Session(path) as session:
        first = session.run({"x": X})["y"]
        session.run({"x": X + 5})
        np.testing.assert_array_equal(first, toys.expected(X))


def test_wrong_inputs_are_all_listed(path: Path) -> None:
    nan = X.copy()
    nan[3] = np.nan
    cases: tuple[tuple[dict[str, Any], list[str]], ...] = (
        ({}, ["x: missing (the model takes float32 [8])"]),
        ({"x": X, "z": X}, ["z: no such input (there are: x)"]),
        ({"q": X, "x": X.astype(np.float64)}, ["x: float64 [8], the model takes float32 [8]", "q: no such"]),
        ({"x": X[:4]}, ["x: float32 [4], the model takes float32 [8]"]),
        ({"x": list(X)}, ["x: a list, not a NumPy array"]),
        ({"x": nan}, ["x: 1 NaN", "allow_nan=True"]),
    )
    with Session(path) as session:
        for feeds, parts in cases:
            with pytest.raises(DataError) as caught:
                session.run(feeds)
            for part in parts:
                assert part in str(caught.value)
    with Session(path, allow_nan=True) as session:
        session.run({"x": nan})  # what comes out is the kernel's affair


def test_a_closed_session_says_so(path: Path) -> None:
    session = Session(path)
    session.close()
    session.close()
    with pytest.raises(UsageError, match="closed"):
        session.run({"x": X})
    with pytest.raises(UsageError, match="closed"):
        session.profile()


def test_profile_and_trace(path: Path, tmp_path: Path) -> None:
    with Session(path) as session:
        with pytest.raises(UsageError, match="enable profiling"):
            session.trace(tmp_path / "trace.json")
        session.enable_profile()
        for _ in range(3):
            session.run({"x": X})
        times = session.profile()
        assert [(time.kernel, time.layers, time.runs) for time in times] == [
            ("add", "bias, sum", 3),
            ("relu", "activation", 3),
        ]
        assert all(time.total_ns >= time.last_ns >= 0 for time in times)
        session.trace(tmp_path / "trace.json")
        with pytest.raises(UsageError, match="cannot write the trace"):
            session.trace(tmp_path / "missing" / "trace.json")
    trace = json.loads((tmp_path / "trace.json").read_text())
    events = trace["traceEvents"]
    assert [event["name"] for event in events] == ["add", "relu"]
    assert events[0]["args"]["layers"] == "bias, sum"
    assert all(event["ph"] == "X" and event["dur"] >= 0 for event in events)
    assert events[1]["ts"] >= events[0]["ts"] + events[0]["dur"]


def test_several_threads_and_sessions(path: Path) -> None:
    sessions = [Session(path, threads=threads) for threads in (1, 2)]
    wrong: list[int] = []

    def work(number: int) -> None:
        for step in range(50):
            x = X + np.float32(number + step / 64)
            if not np.array_equal(sessions[number % 2].run({"x": x})["y"], toys.expected(x)):
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    for session in sessions:
        session.close()


def test_kernels_of_every_arity(tmp_path: Path) -> None:
    counts = [1, 2, 3, 7, 31, 63, 64]
    source = "#include <stdint.h>\n"
    for count in counts:
        parameters = ", ".join(f"int32_t* p{i}" for i in range(count))
        terms = " + ".join(f"{i + 1} * p{i}[0]" for i in range(count - 1)) or "5"
        source += f"int32_t k{count}({parameters}) {{ p{count - 1}[0] = {terms}; return 0; }}\n"
    code = toys.shared_object(source, tmp_path)
    weights = [np.array([7 * i + 1], np.int32) for i in range(63)]
    constants = [Buffer(f"w{i}", BufferKind.CONSTANT, "int32", (1,), 0, w) for i, w in enumerate(weights)]
    outputs = [Buffer(f"y{count}", BufferKind.OUTPUT, "int32", (1,)) for count in counts]
    launches = [Launch(f"k{count}", 0, (*range(count - 1), len(constants) + row)) for row, count in enumerate(counts)]
    image = Image("elf", platform.machine(), (), "", code)
    plan = Plan(
        "cpu", "cpu", (*constants, *outputs), (), tuple(range(63, 63 + len(counts))), tuple(launches),
        (Module("m", (image,)),), 0,
    )  # fmt: skip
    with Session(Artifact(plan).to_bytes()) as session:
        found = session.run({})
    for count in counts:
        wanted = sum((i + 1) * int(weights[i][0]) for i in range(count - 1)) if count > 1 else 5
        assert found[f"y{count}"][0] == wanted
    too_many = dataclasses.replace(plan, launches=(Launch("k64", 0, (*range(63), 63, 64)),))
    with pytest.raises(ArtifactError, match="takes 65 buffers"):
        Session(Artifact(too_many).to_bytes())


def test_scalars_empty_tensors_and_every_dtype() -> None:
    tensors: dict[str, np.ndarray] = {
        "scalar": np.array(3, np.int64),
        "empty": np.zeros((0, 3), np.float32),
        "flags": np.array([True, False]),
        "half": np.array([1.5, -2], np.float16),
        "bytes": np.arange(5, dtype=np.uint8),
        "doubles": np.array([np.inf, 1e300]),
    }
    inputs = [Buffer(name, BufferKind.INPUT, x.dtype.name, x.shape) for name, x in tensors.items()]
    outputs = [Buffer(name, BufferKind.OUTPUT, x.dtype.name, x.shape) for name, x in tensors.items()]
    count = len(tensors)
    copies = tuple(Launch("copy", COPY, (i, count + i)) for i in range(count))
    plan = Plan("cpu", "cpu", (*inputs, *outputs), tuple(range(count)), tuple(range(count, 2 * count)), copies, (), 0)
    with Session(Artifact(plan).to_bytes()) as session:
        found = session.run(tensors)
    for name, x in tensors.items():
        assert found[name].dtype == x.dtype
        np.testing.assert_array_equal(found[name], x)


def test_kernel_failures_name_kernel_and_layers(cpu_toy: Artifact) -> None:
    with (
        Session(changed(cpu_toy, 1, kernel="fail")) as session,
        pytest.raises(DeviceError, match=r"kernel 'fail' \(activation\) failed with code 42"),
    ):
        session.run({"x": X})
    with (
        Session(changed(cpu_toy, 1, kernel="hungry")) as session,
        pytest.raises(DeviceError, match="no workspace left"),
    ):
        session.run({"x": X})
    with pytest.raises(ArtifactError, match=r"module kernels has no kernel 'gone' \(bias, sum\)"):
        Session(changed(cpu_toy, 0, kernel="gone"))


def cpu_error(code: bytes, **image: object) -> str:
    plan = toys.cpu_plan(code, **image)  # type: ignore[arg-type]
    with pytest.raises((ArtifactError, DeviceError)) as caught:
        Session(Artifact(plan).to_bytes())
    return str(caught.value)


def test_machines_that_cannot_run_the_code(cpu_code: bytes) -> None:
    assert "this cpu lacks warp9" in cpu_error(cpu_code, features=("warp9",))
    other = "aarch64" if platform.machine() == "x86_64" else "x86_64"
    assert f"{other}: this machine is {platform.machine()}" in cpu_error(cpu_code, arch=other)
    # 18: the low byte of e_machine
    assert "another machine" in cpu_error(cpu_code[:18] + b"\x03" + cpu_code[19:])


def test_damaged_machine_code_is_refused(cpu_code: bytes) -> None:
    assert "no ELF file" in cpu_error(b"")
    assert "no 64-bit ELF" in cpu_error(b"MZ" + cpu_code[2:])
    assert "outside the file" in cpu_error(cpu_code[:4096])
    assert "program headers" in cpu_error(cpu_code[:32] + b"\xff" * 8 + cpu_code[40:])


def test_the_first_image_that_fits_is_taken(cpu_toy: Artifact, cpu_code: bytes) -> None:
    images = (
        Image("cubin", "sm_87", (), "", b"?"),
        Image("elf", platform.machine(), ("warp9",), "", b"?"),
        Image("elf", platform.machine(), (), "", cpu_code),
    )
    plan = dataclasses.replace(cpu_toy.plan, modules=(Module("kernels", images),))
    with Session(Artifact(plan).to_bytes()) as session:
        np.testing.assert_array_equal(session.run({"x": X})["y"], toys.expected(X))


def test_devices_and_limits(path: Path) -> None:
    assert devices()[0].backend == "cpu"
    with pytest.raises(DeviceError, match="not for device 'mali'"):
        Session(path, device="mali")
    with pytest.raises(DeviceError, match="over the limit of 4096"):
        Session(path, memory_limit=4096)
    with pytest.raises(UsageError, match="threads"):
        Session(path, threads=-1)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"missing\.tw: No such file"):
        Session(tmp_path / "missing.tw")
    (tmp_path / "empty.tw").touch()
    with pytest.raises(UsageError, match="empty file"):
        Session(tmp_path / "empty.tw")
    with pytest.raises(ArtifactError, match="magic"):
        Session(b"PK\3\4 not an artifact")


def test_needs_numpy_alone() -> None:
    script = "import sys, tilewright.runtime as r; r.devices(); print(*(m.partition('.')[0] for m in sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "numpy" in loaded
    assert not loaded & {"tvm", "tvm_ffi", "onnx", "onnx_ir", "onnxruntime", "onnxscript", "msgspec", "rich", "scipy"}


def test_a_temporary_file_stands_in_for_memfd(path: Path, tmp_path: Path, without_memfd: Path) -> None:
    def selftest(cache_dir: str) -> subprocess.CompletedProcess[str]:
        load = (
            f"from tilewright.runtime import Session; print(Session({str(path)!r}, cache_dir={cache_dir!r}).selftest())"
        )
        environment = {"LD_PRELOAD": str(without_memfd)}
        return subprocess.run([sys.executable, "-c", load], capture_output=True, text=True, env=environment)

    assert selftest(str(tmp_path)).stdout == "(0.0, 0.0)\n"
    assert list(tmp_path.glob("tilewright-*")) == []
    # A folder that does not exist: so the preload did take memfd_create away.
    assert "cannot load the kernels" in selftest(str(tmp_path / "missing")).stderr


@pytest.fixture
def without_memfd(tmp_path: Path) -> Path:
    """A library to preload under which memfd_create fails as on an old kernel."""
    source = """
    #define _GNU_SOURCE
    #include <dlfcn.h>
    #include <errno.h>
    #include <stdarg.h>
    #include <sys/syscall.h>
    long syscall(long number, ...) {
      if (number == SYS_memfd_create) { errno = ENOSYS; return -1; }
      va_list list;
      va_start(list, number);
      long a[6];
      for (int i = 0; i < 6; ++i) a[i] = va_arg(list, long);
      va_end(list);
      return ((long (*)(long, ...))dlsym(RTLD_NEXT, "syscall"))(number, a[0], a[1], a[2], a[3], a[4], a[5]);
    }
    """

    folder = tmp_path / "preload"
    folder.mkdir()
    toys.shared_object(source, folder)
    return folder / "kernels.so"


@pytest.mark.parametrize("threads", [1, 3])
def test_the_prologue_runs_once_at_load(compressed_toy: Artifact, threads: int) -> None:
    x = np.linspace(-20, 20, toys.SIZE, dtype=np.float32)
    with Session(compressed_toy.to_bytes(), threads=threads, profile=True) as session:
        for _ in range(3):
            np.testing.assert_array_equal(session.run({"x": x})["y"], toys.expected(x))
        assert [(entry.kernel, entry.runs) for entry in session.profile()] == [("add", 3), ("relu", 3)]
        assert session.selftest() == (0.0, 0.0)
        assert session.stats().static_bytes == 512


def test_memory_of_the_prologue_is_given_back(compressed_toy: Artifact) -> None:
    plan = compressed_toy.plan
    wide = dataclasses.replace(plan, temporary_bytes=1 << 20)
    owned = []
    for data in (compressed_toy.to_bytes(), Artifact(wide).to_bytes()):
        with Session(data) as session:
            owned.append(session.stats().owned_bytes)
    assert owned[0] == owned[1]
    with pytest.raises(DeviceError, match="over the limit"):  # but it counts while it is needed
        Session(Artifact(wide).to_bytes(), memory_limit=owned[0] + (1 << 19))


def test_a_prologue_that_fails_is_named(compressed_toy: Artifact) -> None:
    plan = compressed_toy.plan
    broken = dataclasses.replace(plan.prologue[0], kernel="fail")
    with pytest.raises(DeviceError, match=r"kernel 'fail' \(prepare\) failed with code 42"):
        Session(Artifact(dataclasses.replace(plan, prologue=(broken,))).to_bytes())
