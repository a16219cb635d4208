"""The artifact file: what is written is read back, and nothing else is."""

from __future__ import annotations

import os
import resource
import struct
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.runtime import toys
from tilewright.artifact import Artifact, Selftest
from tilewright.artifact_rules import DTYPES
from tilewright.errors import ArtifactError, TilewrightError
from tilewright.plan import COPY, ENTROPY, PLACED, RAW, Buffer, BufferKind, Launch, Plan

TOY = toys.artifact(toys.opencl_plan())
TOY_BYTES = TOY.to_bytes()


def assert_same(found: Artifact, wanted: Artifact) -> None:
    assert found.plan == wanted.plan
    assert found.metadata == wanted.metadata
    for one, other in zip(found.plan.buffers, wanted.plan.buffers, strict=True):
        if other.data is None:
            assert one.data is None
        else:
            assert one.data is not None
            assert one.data.dtype == other.data.dtype
            np.testing.assert_array_equal(one.data, other.data)


def test_reads_what_it_wrote() -> None:
    found = Artifact.load(TOY_BYTES)
    assert_same(found, TOY)
    assert found.report is None
    assert found.selftest is not None
    assert TOY.selftest is not None
    assert found.selftest.tolerance == TOY.selftest.tolerance
    np.testing.assert_array_equal(found.selftest.inputs["x"], TOY.selftest.inputs["x"])
    np.testing.assert_array_equal(found.selftest.outputs["y"], TOY.selftest.outputs["y"])
    assert found.to_bytes() == TOY_BYTES


shapes = st.lists(st.integers(0, 5), max_size=4).map(tuple)
names = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12)


@st.composite
def artifacts(draw: st.DrawFn) -> Artifact:
    buffers = []
    arena = draw(st.integers(0, 8)) * 256
    for index in range(draw(st.integers(0, 6))):
        kind = draw(st.sampled_from(BufferKind))
        dtype, shape = draw(st.sampled_from(DTYPES)), draw(shapes)
        data, storage, bits = None, RAW, 8
        if kind is BufferKind.CONSTANT:
            storage, bits = draw(st.sampled_from([(RAW, 8), (ENTROPY, draw(st.integers(1, 8)))]))
            seed = np.random.default_rng(draw(st.integers(0, 3)))
            data = seed.integers(0, 2, shape).astype(dtype)
        offset = draw(st.integers(0, arena // 256)) * 256 if kind in PLACED else 0
        buffer = Buffer(f"{index}{draw(names)}", kind, dtype, shape, offset, data, storage, bits)
        arena = max(arena, offset + buffer.nbytes if kind in PLACED else 0)
        buffers.append(buffer)
    ends = [
        tuple(i for i, buffer in enumerate(buffers) if buffer.kind is kind)
        for kind in (BufferKind.INPUT, BufferKind.OUTPUT)
    ]
    copies, early = (
        tuple(
            Launch(draw(names), COPY, (i, i), layers=tuple(draw(st.lists(names, max_size=2))))
            for i, buffer in enumerate(buffers)
            if buffer.kind in kinds
        )
        for kinds in ((BufferKind.ARENA, BufferKind.OUTPUT), (BufferKind.STATIC, BufferKind.TEMPORARY))
    )
    sizes = arena, draw(st.integers(0, 1 << 40)), early, arena, arena
    plan = Plan(draw(names), draw(names), tuple(buffers), *ends, copies, (), *sizes)
    return Artifact(plan, {"note": draw(names)})


@given(artifacts())
@settings(max_examples=100, deadline=None)
def test_any_plan_round_trips(artifact: Artifact) -> None:
    assert_same(Artifact.load(artifact.to_bytes()), artifact)


@given(st.integers(0, 8 * len(TOY_BYTES) - 1))
@settings(max_examples=300, deadline=None)
def test_any_flipped_bit_is_refused(bit: int) -> None:
    damaged = bytearray(TOY_BYTES)
    damaged[bit // 8] ^= 1 << bit % 8
    with pytest.raises(ArtifactError):
        Artifact.load(bytes(damaged))


@given(st.integers(0, len(TOY_BYTES) - 1))
@settings(max_examples=100, deadline=None)
def test_any_truncation_is_refused(size: int) -> None:
    with pytest.raises(ArtifactError):
        Artifact.load(TOY_BYTES[:size])


def test_extra_bytes_are_refused() -> None:
    with pytest.raises(ArtifactError, match="its header says"):
        Artifact.load(TOY_BYTES + b"\0")


@given(st.integers(0, len(TOY_BYTES) - 1), st.integers(0, 255))
@settings(max_examples=300, deadline=None)
def test_damage_with_right_checksums_is_refused_or_harmless(at: int, value: int) -> None:
    damaged = bytearray(TOY_BYTES)
    damaged[at] = value
    try:
        sealed = toys.reseal(damaged)
    except struct.error:  # the segment table itself is out of range
        sealed = bytes(damaged)
    with suppress(ArtifactError):  # nothing else may come out
        Artifact.load(sealed)


def test_hostile_metadata_is_refused() -> None:
    for text in (b"[" * 4000, b"[]", b"\xff", b"{"):
        hostile = bytearray(TOY_BYTES)
        at, (kind, flags, offset, _, _, _) = list(toys.segments(hostile))[1]
        deep = text + b" " * (4096 - len(text)) if len(text) < 4096 else text
        hostile[offset : offset + 4096] = deep
        toys.SEGMENT.pack_into(hostile, at, kind, flags, offset, 4096, 0, 0)
        with pytest.raises(ArtifactError, match="metadata is not"):
            Artifact.load(toys.reseal(hostile))


def test_segments_can_be_mapped() -> None:
    offsets = [fields[2] for _, fields in toys.segments(TOY_BYTES)]
    assert len(offsets) == 5
    assert all(offset % 4096 == 0 for offset in offsets)


def test_a_later_minor_version_with_more_fields_is_read() -> None:
    newer = bytearray(TOY_BYTES)
    struct.pack_into("<H", newer, 10, 7)
    assert_same(Artifact.load(toys.reseal(newer)), TOY)


def test_another_major_version_says_what_to_do() -> None:
    newer = bytearray(TOY_BYTES)
    struct.pack_into("<H", newer, 8, 2)
    with pytest.raises(ArtifactError, match=r"format 2\.2.*compile again"):
        Artifact.load(toys.reseal(newer))


def test_unknown_segments_are_skipped_unless_required() -> None:
    other = bytearray(TOY_BYTES)
    at, (_, _, offset, nbytes, crc, _) = list(toys.segments(other))[4]
    for required in (0, 1):
        toys.SEGMENT.pack_into(other, at, 99, required, offset, nbytes, crc, 0)
        if required:
            with pytest.raises(ArtifactError, match="unknown"):
                Artifact.load(toys.reseal(other))
        else:
            assert Artifact.load(toys.reseal(other)).selftest is None


def test_saving_replaces_the_file_whole(tmp_path: Path) -> None:
    path = tmp_path / "model.tw"
    path.write_bytes(b"old")
    TOY.save(path)
    assert path.read_bytes() == TOY_BYTES
    assert_same(Artifact.load(path), TOY)
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "model.tw"
    path.write_bytes(b"old")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, limits[1]))  # writes beyond fail as on a full disk
    try:
        with pytest.raises(TilewrightError, match=r"model\.tw: cannot write the artifact"):
            TOY.save(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_only_files_are_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(TilewrightError, match="not a regular file"):
        TOY.save(tmp_path / "pipe")
    assert [path.name for path in tmp_path.iterdir()] == ["pipe"]
    assert (tmp_path / "pipe").is_fifo()


def test_unreachable_paths_are_reported(tmp_path: Path) -> None:
    with pytest.raises(TilewrightError, match="there is no folder"):
        TOY.save(tmp_path / "missing" / "model.tw")
    with pytest.raises(TilewrightError, match="No such file"):
        Artifact.load(tmp_path / "missing.tw")
    (tmp_path / "text.tw").write_text("hello")
    with pytest.raises(ArtifactError, match=r"text\.tw: not a Tilewright artifact"):
        Artifact.load(tmp_path / "text.tw")


def test_self_tests_must_fit_the_model() -> None:
    with pytest.raises(ArtifactError, match=r"self-test x: float64 \(8,\) given, float32 \(8,\) needed"):
        Artifact(TOY.plan, {}, Selftest({"x": np.zeros(8)}, {}, 0.1)).to_bytes()
    with pytest.raises(ArtifactError, match="self-test x: nothing given"):
        Artifact(TOY.plan, {}, Selftest({}, {}, 0.1)).to_bytes()


def test_metadata_must_be_json() -> None:
    for bad in ({"a": object()}, {"a": float("nan")}):
        with pytest.raises(ArtifactError, match="metadata is not JSON"):
            Artifact(TOY.plan, bad).to_bytes()
