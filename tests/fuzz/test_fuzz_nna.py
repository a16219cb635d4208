"""Fuzzes the models of NNAs for a short while; FUZZ_SECONDS (10) sets how long. More: tests/fuzz/README.md."""

from __future__ import annotations

import re
import shutil
import struct
import subprocess
from pathlib import Path

import numpy as np
import pytest

from tilewright.runtime import nna

from .test_fuzz import RUNTIME, SECONDS

HERE = Path(__file__).parent
SOURCES = [
    *(path for part in ("nna", "vbd") for path in sorted((RUNTIME / "src" / part).glob("*.cc"))),
    RUNTIME / "src" / "failure.cc",
]
FLAGS = ["-std=c++17", "-g1", "-O1", "-fno-sanitize-recover=all", "-I", RUNTIME / "src", "-I", RUNTIME / "include"]


def build(compiler: str, sanitizers: str, folder: Path, *extra: Path) -> Path | None:
    """The fuzzer; None where the compiler has no libFuzzer."""
    program = folder / "fuzz_nna"
    command = [compiler, *FLAGS, f"-fsanitize={sanitizers}", HERE / "fuzz_nna.cc", *extra, *SOURCES, "-o", program]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    if done.returncode and "libclang_rt" in done.stderr:
        return None
    assert done.returncode == 0, done.stderr[-4000:]
    return program


CORPORA = [HERE / "nna_corpus", HERE / "vbd_corpus"]
SEEDS = [path for corpus in CORPORA for path in sorted(corpus.iterdir())]


@pytest.mark.parametrize("path", SEEDS, ids=lambda path: path.name)
def test_seeds_run_to_the_end(path: Path) -> None:
    """A seed that fails early would lead the fuzzer nowhere."""
    data = path.read_bytes()
    (nbytes,) = struct.unpack("<I", data[:4])
    regions = {number: nna.Region(np.zeros(64 << 10, np.uint8)) for number in (1, 2, 3, 4)}
    regions[0] = nna.Region(np.frombuffer(data[4 + nbytes :], np.uint8), writable=False)
    nna.run(data[4 : 4 + nbytes], regions, 1 << 18)


def test_fuzzing_finds_nothing(tmp_path: Path) -> None:
    """With libFuzzer, or by mutate.cc where that is missing."""
    if (clang := shutil.which("clang++")) and (program := build(clang, "fuzzer,address,undefined", tmp_path)):
        (tmp_path / "found").mkdir()
        limits = ["-max_len=16384", "-seed=1", "-rss_limit_mb=2048", "-malloc_limit_mb=64", "-timeout=10"]
        command = [program, f"-max_total_time={SECONDS}", *limits, tmp_path / "found", *CORPORA]
    elif compiler := shutil.which("g++") or clang:
        program = build(compiler, "address,undefined", tmp_path, HERE / "mutate.cc")
        assert program is not None
        command = [program, str(SECONDS), "1", *SEEDS]
    else:
        pytest.skip("no C++ compiler: apt-get install clang libclang-rt-dev")
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-6000:]
    runs = re.search(r"Done (\d+) runs|^(\d+) inputs", done.stderr + done.stdout, re.MULTILINE)
    assert runs is not None
    assert int(runs[1] or runs[2]) > 100
