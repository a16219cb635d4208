"""The tables of the PLAN segment: constants, and the rules of a plan."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from tests.runtime import toys
from tilewright.artifact import Artifact
from tilewright.artifact_tables import Pool, align, decode, encode
from tilewright.errors import ArtifactError
from tilewright.plan import COPY, ENTROPY, Buffer, BufferKind, Launch, Plan

TOY = toys.artifact(toys.opencl_plan())
HEADER = 64  # bytes of the plan's header, before the list of tables


def test_align() -> None:
    assert [align(value, 256) for value in (0, 1, 255, 256, 257)] == [0, 256, 256, 256, 512]


def test_a_pool_stores_equal_contents_once_and_aligned() -> None:
    pool = Pool(16)
    assert [pool.add(data) for data in (b"abc", b"defg", b"abc", b"", bytes(20), b"x")] == [0, 16, 0, 32, 32, 64]
    assert pool.size == 65
    assert b"".join(pool.parts) == b"abc" + bytes(13) + b"defg" + bytes(12) + bytes(20) + bytes(12) + b"x"


def test_encoding_is_stable_and_decodes() -> None:
    code, constants = Pool(16), Pool(256)
    segment = encode(TOY.plan, code, constants)
    plan = decode(*(memoryview(data) for data in (segment, b"".join(code.parts), b"".join(constants.parts))))
    assert plan == TOY.plan
    assert encode(plan, Pool(16), Pool(256)) == segment


def test_overlapping_lists_are_refused() -> None:
    code, constants = Pool(16), Pool(256)
    segment = bytearray(encode(TOY.plan, code, constants))
    at = HEADER + 5 * 16  # the entry of the launch table
    second = int.from_bytes(segment[at : at + 4], "little") + 48
    segment[second + 8 : second + 12] = bytes(4)  # its arguments are now the inputs' list
    with pytest.raises(ArtifactError, match="lists overlap"):
        decode(*(memoryview(data) for data in (segment, b"".join(code.parts), b"".join(constants.parts))))


def test_a_table_with_longer_entries_is_read() -> None:
    """As a later minor version would write them."""
    code, constants = Pool(16), Pool(256)
    segment = bytearray(encode(TOY.plan, code, constants))
    at = HEADER + 4 * 16  # the entry of the buffer table
    offset, count, stride, _ = (int.from_bytes(segment[at + 4 * i : at + 4 * i + 4], "little") for i in range(4))
    longer = b"".join(bytes(segment[offset + i * stride :][:stride]) + b"future!!" for i in range(count))
    segment[at : at + 4] = len(segment).to_bytes(4, "little")
    segment[at + 8 : at + 12] = (stride + 8).to_bytes(4, "little")
    parts = (memoryview(data) for data in (bytes(segment) + longer, b"".join(code.parts), b"".join(constants.parts)))
    assert decode(*parts) == TOY.plan


def test_equal_constants_are_stored_once() -> None:
    big = np.arange(100_000, dtype=np.float32)
    buffers = tuple(
        Buffer(f"w{i}", BufferKind.CONSTANT, "float32", shape, 0, big.reshape(shape))
        for i, shape in enumerate([(100_000,), (100, 1000), (1000, 100)])
    )
    data = Artifact(Plan("cpu", "cpu", buffers, (), (), (), (), 0)).to_bytes()
    assert big.nbytes < len(data) < big.nbytes + 5 * 4096
    for buffer in Artifact.load(data).plan.buffers:
        np.testing.assert_array_equal(buffer.data.reshape(-1), big)


def test_non_contiguous_and_big_endian_constants() -> None:
    base = np.arange(24, dtype=np.float32).reshape(4, 6)
    for data in (base.T, base[:, ::2], base.astype(">f4").astype("<f4")):
        plan = Plan(
            "cpu", "cpu", (Buffer("w", BufferKind.CONSTANT, "float32", data.shape, 0, data),), (), (), (), (), 0
        )
        np.testing.assert_array_equal(Artifact.load(Artifact(plan).to_bytes()).plan.buffers[0].data, data)


def test_what_the_loader_would_refuse_is_not_written() -> None:
    plan = TOY.plan
    wrong = dataclasses.replace(
        plan,
        inputs=(),
        buffers=(*plan.buffers[:2], dataclasses.replace(plan.buffers[2], offset=100), plan.buffers[3]),
        launches=(
            dataclasses.replace(plan.launches[0], args=(0, 9)),
            dataclasses.replace(plan.launches[1], module=3, grid=(0, 1, 1)),
            Launch("copy", COPY, (0, 1)),
        ),
        modules=(dataclasses.replace(plan.modules[0], images=()),),
    )
    with pytest.raises(ArtifactError) as caught:
        Artifact(wrong).to_bytes()
    for part in ("offset 100", "inputs []", "arguments [9]", "module 3", "grid", "cannot write constant", "no image"):
        assert part in str(caught.value)


def test_a_prologue_keeps_to_what_is_known_at_load() -> None:
    plan = toys.compressed(TOY.plan)
    first, second = plan.prologue
    Artifact(plan).to_bytes()
    x, static, constant, temporary = 0, 1, 4, 5

    def fault(**changes: object) -> str:
        with pytest.raises(ArtifactError) as caught:
            Artifact(dataclasses.replace(plan, **changes)).to_bytes()
        return str(caught.value)

    def buffer(index: int, **changes: object) -> dict[str, object]:
        buffers = list(plan.buffers)
        buffers[index] = dataclasses.replace(buffers[index], **changes)
        return {"buffers": tuple(buffers)}

    assert "cannot touch input x" in fault(prologue=(dataclasses.replace(first, args=(x, temporary)), second))
    assert "cannot write constant" in fault(prologue=(Launch("copy", COPY, (temporary, constant)),))
    assert "cannot touch temporary" in fault(launches=(dataclasses.replace(first, args=(temporary, 3)),))
    assert "cannot write static w" in fault(launches=(Launch("copy", COPY, (x, static)),))
    assert "outside the static memory" in fault(static_bytes=256)
    assert "outside the temporary memory" in fault(temporary_bytes=0)
    assert "static offset 4" in fault(**buffer(static, offset=4))
    assert "storage 'entropy' of a static buffer" in fault(**buffer(static, storage=ENTROPY))
    assert "storage 'zip'" in fault(**buffer(constant, storage="zip"))
    assert "symbols of 9 bits" in fault(**buffer(constant, symbol_bits=9))
    assert "no texel buffer" in fault(**buffer(temporary, texel_buffer=True))


def test_what_is_coded_once_is_not_coded_again(monkeypatch: pytest.MonkeyPatch) -> None:
    artifact = Artifact(toys.compressed(TOY.plan))
    data = artifact.to_bytes()
    monkeypatch.setattr("tilewright.formats.storage.entropy._section", None)  # would be called
    assert dataclasses.replace(artifact, metadata={}).to_bytes() == data


def test_damaged_coded_weights_are_refused() -> None:
    code, constants = Pool(16), Pool(256)
    segment = encode(toys.compressed(TOY.plan), code, constants)
    data = bytearray(b"".join(constants.parts))
    data[0] ^= 0xFF  # the kind of the section
    with pytest.raises(ArtifactError, match="damaged entropy-coded weights"):
        decode(memoryview(segment), memoryview(b"".join(code.parts)), memoryview(bytes(data)))
