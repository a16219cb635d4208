"""The C++ loader through Python: everything damaged is refused, nothing crashes."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.make_corpus import CORPUS, seeds
from tilewright.artifact import Artifact
from tilewright.errors import ArtifactError, DeviceError
from tilewright.plan import COPY, Buffer, BufferKind, Launch, Plan
from tilewright.runtime import Session

from . import toys

BUFFERS = tuple(
    Buffer(kind.name, kind, "float32", (64,)) for kind in (BufferKind.INPUT, BufferKind.ARENA, BufferKind.OUTPUT)
)
COPIES = (Launch("copy", COPY, (0, 1), layers=("first",)), Launch("copy", COPY, (1, 2), layers=("second",)))
DATA = Artifact(Plan("cpu", "cpu", BUFFERS, (0,), (2,), COPIES, (), 256), {"key": "value"}).to_bytes()


def test_the_seed_itself_loads() -> None:
    Session(DATA).close()


@given(st.integers(0, 8 * len(DATA) - 1))
@settings(max_examples=300, deadline=None)
def test_any_flipped_bit_is_refused(bit: int) -> None:
    damaged = bytearray(DATA)
    damaged[bit // 8] ^= 1 << bit % 8
    with pytest.raises(ArtifactError):
        Session(bytes(damaged))


@given(st.integers(0, len(DATA) - 1))
@settings(max_examples=100, deadline=None)
def test_any_truncation_is_refused(size: int) -> None:
    with pytest.raises(ArtifactError):
        Session(DATA[:size])


TABLES = slice(4096, 4096 + 600)


@given(st.integers(TABLES.start, TABLES.stop - 8), st.sampled_from([0, 1, 255, 1 << 31, 1 << 32, (1 << 64) - 1]))
@settings(max_examples=500, deadline=None)
def test_both_readers_agree_on_damage_with_right_checksums(at: int, value: int) -> None:
    damaged = bytearray(DATA)
    struct.pack_into("<Q", damaged, at, value)
    sealed = toys.reseal(damaged)
    try:
        Session(sealed, memory_limit=1 << 20).close()
    except DeviceError:
        return  # a back end, an arena or a device that this machine lacks: valid for the format
    except ArtifactError:
        return  # the C++ loader is the stricter one: it also wants lists in order and text in UTF-8
    Artifact.load(sealed)


def test_the_corpus_is_what_its_script_writes() -> None:
    assert sorted(path.name for path in CORPUS.iterdir()) == sorted(seeds())
    for name, artifact in seeds().items():
        assert (CORPUS / name).read_bytes() == artifact.to_bytes(), f"{name}: run tests/fuzz/make_corpus.py"


@pytest.mark.parametrize("name", ["copy.tw", "empty.tw", "shapes.tw", "prologue.tw"])
def test_seeds_without_kernels_run(name: str) -> None:
    with Session(CORPUS / name) as session:
        session.run({info.name: np.zeros(info.shape, info.dtype) for info in session.inputs})


def test_a_prologue_has_run_before_the_first_run() -> None:
    plan = seeds()["prologue.tw"].plan
    with Session(CORPUS / "prologue.tw") as session:
        assert session.stats().static_bytes == 256
        results = session.run({"x": np.zeros(1, np.int8)})
    np.testing.assert_array_equal(results["y"], plan.buffers[1].data)
    np.testing.assert_array_equal(results["z"], plan.buffers[2].data)


def test_a_file_of_format_1_0_is_read_and_run() -> None:
    """Written by the version that had format 1.0: no prologue, shorter buffers, eight tables."""
    path = Path(__file__).with_name("format_1_0.tw")
    artifact = Artifact.load(path)
    assert artifact.plan == seeds()["copy.tw"].plan
    assert path.read_bytes()[8:12] == bytes([1, 0, 0, 0])
    with Session(path) as session:
        assert session.selftest() == (0.0, pytest.approx(1e-5))


def test_seeds_with_false_kernels_are_refused() -> None:
    with pytest.raises((ArtifactError, DeviceError), match=r"ELF|no code for this device"):
        Session(CORPUS / "images.tw")
    with pytest.raises(DeviceError):  # no OpenCL here, or its compiler does not know cl_khr_fp16, or kernel "k"
        Session(CORPUS / "opencl.tw", cache_dir="")
