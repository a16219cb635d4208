"""The two builds of the runtime: what they compile, how large they are, and the C++ tests under sanitizers."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tilewright.artifact import Artifact
from tilewright.runtime import native

from . import toys
from .conftest import CMakeBuild

LIMIT_BYTES = 200_000  # of the stripped library


def test_both_builds_have_the_same_sources() -> None:
    runtime = toys.ROOT / "runtime"
    text = (runtime / "CMakeLists.txt").read_text()
    sources = {"TILEWRIGHT_SOURCES": "src", "TILEWRIGHT_NNA_SOURCES": "src/nna", "TILEWRIGHT_VBD_SOURCES": "src/vbd"}
    for name, folder in sources.items():
        (block,) = re.findall(rf"set\({name}\s+(.*?)\)", text, re.DOTALL)
        assert block.split() == sorted(f"{folder}/{path.name}" for path in (runtime / folder).glob("*.cc"))


def test_the_library_is_small_and_exports_the_c_api_alone() -> None:
    path = native.library_path()
    assert path.stat().st_size <= LIMIT_BYTES
    if shutil.which("nm") is None:
        pytest.skip("no nm: apt-get install binutils")
    symbols = subprocess.run(
        ["nm", "-D", "--defined-only", path], capture_output=True, text=True, check=True
    ).stdout.split("\n")
    exported = {line.split()[-1] for line in symbols if line}
    header = (toys.ROOT / "runtime" / "include" / "tilewright" / "tilewright.h").read_text()
    assert exported == set(re.findall(r"^TW_API .*?\b(tw_\w+)\(", header, re.MULTILINE))


def test_the_header_is_c(tmp_path: Path) -> None:
    (tmp_path / "use.c").write_text(
        "#include <tilewright/tilewright.h>\nint main(void) { return (int)tw_api_version(); }\n"
    )
    command = ["cc", "-std=c99", "-pedantic", "-Wall", "-Werror", "-fsyntax-only"]
    subprocess.run([*command, "-I", toys.ROOT / "runtime" / "include", tmp_path / "use.c"], check=True)


def test_python_and_c_agree_on_the_version() -> None:
    header = (toys.ROOT / "runtime" / "include" / "tilewright" / "tilewright.h").read_text()
    assert f"#define TW_API_VERSION {native.API_VERSION}\n" in header


# -O0 because that compiles fastest; the sanitizers see the same accesses.
DEBUG = ("-DCMAKE_BUILD_TYPE=Debug", "-DCMAKE_CXX_FLAGS=-O0", "-DTILEWRIGHT_TESTS=ON")


@pytest.mark.parametrize(("name", "sanitizers"), [("asan", "address,undefined"), ("tsan", "thread")])
def test_cpp_tests_under_sanitizers(cmake_build: CMakeBuild, name: str, sanitizers: str) -> None:
    folder = cmake_build(name, *DEBUG, f"-DTILEWRIGHT_SANITIZE={sanitizers}", target="tilewright_tests")
    done = subprocess.run([folder / "tilewright_tests"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    assert re.search(r"^[1-9]\d+ tests, 0 failed checks$", done.stdout, re.MULTILINE)


def test_tools_run_the_toy(cmake_build: CMakeBuild, cpu_toy: Artifact, tmp_path: Path) -> None:
    folder = cmake_build("tools", "-DTILEWRIGHT_TOOLS=ON")
    path = tmp_path / "toy.tw"
    cpu_toy.save(path)
    assert cpu_toy.selftest is not None
    x, y = cpu_toy.selftest.inputs["x"], cpu_toy.selftest.outputs["y"]
    (tmp_path / "x.bin").write_bytes(x.tobytes())

    def run(*command: object) -> str:
        return subprocess.run(list(map(str, command)), capture_output=True, text=True, check=True).stdout

    options = ("--input", f"x={tmp_path}/x.bin", "--output", f"y={tmp_path}/y.bin", "--threads", 2, "--repeat", 3)
    text = run(folder / "tw_run", path, *options, "--profile", "--trace", tmp_path / "trace.json")
    assert "input  x float32 [8]\noutput y float32 [2, 4]\n" in text
    assert re.search(r"us  add  bias, sum\n.*us  relu  activation\n", text)
    assert (tmp_path / "y.bin").read_bytes() == y.tobytes()
    assert (tmp_path / "trace.json").exists()
    assert "self-test passed" in run(folder / "tw_run", path, "--selftest")
    assert run(folder / "embed", path) == "y: 0 1 2 3 4 5 6 7\n"  # relu(0 + w)
    wrong = subprocess.run([folder / "tw_run", path, "--input", "q=x"], capture_output=True, text=True)
    assert (wrong.returncode, wrong.stderr) == (1, "tw_run: q=x: no such tensor, or not NAME=FILE\n")
