"""Fuzzes the loader for a short while; FUZZ_SECONDS (10) sets how long. Longer runs: tests/fuzz/README.md."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent
RUNTIME = HERE.parents[1] / "runtime"
# What parses files; no back end, so nothing of an artifact can be executed.
PARSERS = ("artifact", "container", "crc32", "failure", "inflate", "rans", "trace", "weights")
SOURCES = [RUNTIME / "src" / f"{name}.cc" for name in PARSERS]
FLAGS = ["-std=c++17", "-g1", "-O1", "-fno-sanitize-recover=all", "-I", RUNTIME / "src", "-I", RUNTIME / "include"]
SECONDS = int(os.environ.get("FUZZ_SECONDS", "10"))


def build(compiler: str, sanitizers: str, folder: Path, *extra: Path) -> Path:
    program = folder / "fuzz_loader"
    command = [compiler, *FLAGS, f"-fsanitize={sanitizers}", HERE / "fuzz_loader.cc", *extra, *SOURCES, "-o", program]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    if done.returncode and "libclang_rt" in done.stderr:
        pytest.skip("clang has no libFuzzer: apt-get install libclang-rt-dev")
    assert done.returncode == 0, done.stderr[-4000:]
    return program


def test_libfuzzer_finds_nothing(tmp_path: Path) -> None:
    compiler = shutil.which("clang++")
    if compiler is None:
        pytest.skip("no clang++: apt-get install clang libclang-rt-dev")
    program = build(compiler, "fuzzer,address,undefined", tmp_path)
    found = tmp_path / "found"
    found.mkdir()
    done = subprocess.run(
        [
            program,
            f"-max_total_time={SECONDS}",
            "-max_len=65536",
            "-seed=1",
            "-rss_limit_mb=2048",
            "-malloc_limit_mb=4",
            found,
            HERE / "corpus",
        ],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr[-6000:]
    runs = re.search(r"Done (\d+) runs", done.stderr)
    assert runs is not None
    assert int(runs[1]) > 100


def test_mutations_without_libfuzzer(tmp_path: Path) -> None:
    compiler = shutil.which("g++") or shutil.which("clang++")
    if compiler is None:
        pytest.skip("no C++ compiler: apt-get install g++")
    program = build(compiler, "address,undefined", tmp_path, HERE / "mutate.cc")
    corpus = sorted((HERE / "corpus").iterdir())
    done = subprocess.run([program, "3", "1", *corpus], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-6000:]
    assert int(done.stdout.split()[0]) > 100
