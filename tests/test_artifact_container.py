"""Segments in a file: what is packed is found again, in place."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.runtime import toys
from tilewright import artifact_container as container
from tilewright.errors import ArtifactError

contents = st.lists(st.binary(max_size=5000), max_size=3)


NEEDED = (container.PLAN, container.METADATA, container.CODE, container.CONSTANTS)


@given(st.lists(contents, min_size=4, max_size=5))
def test_what_is_packed_is_found(parts: list[list[bytes]]) -> None:
    segments = list(zip((*NEEDED, container.SELFTEST), parts, strict=False))
    file = b"".join(container.pack(segments))
    found = container.segments(memoryview(file))
    assert {kind: bytes(data) for kind, data in found.items()} == {kind: b"".join(part) for kind, part in segments}
    assert len(file) >= container.head_bytes(len(segments))


def test_large_tables_code_and_metadata_lie_deflated() -> None:
    text = b"".join(b"kernel %d, " % n for n in range(2000))
    segments = [(kind, [text]) for kind in (*NEEDED, container.SELFTEST)]
    file = memoryview(b"".join(container.pack(segments)))
    assert {kind: bytes(data) for kind, data in container.segments(file).items()} == dict.fromkeys(
        (*NEEDED, container.SELFTEST), text
    )
    taken = container.file_bytes(file)
    # Weights and the self-test are used where they lie in the file.
    assert {kind for kind, nbytes in taken.items() if nbytes == len(text)} == {container.CONSTANTS, container.SELFTEST}
    assert taken[container.CODE] < len(text) / 3
    assert len(file) == sum(taken.values()) + container.head_bytes(5) + _padding(file)


def _padding(file: memoryview) -> int:
    ends = [container.head_bytes(5)]
    for _, (_, _, offset, nbytes, _, _) in toys.segments(bytes(file)):
        ends += [offset, offset + nbytes]
    return sum(after - before for before, after in zip(ends[::2], ends[1::2], strict=False))


def test_what_expands_too_far_lies_raw() -> None:
    file = memoryview(b"".join(container.pack([(kind, [bytes(1 << 16)]) for kind in NEEDED])))
    assert set(container.file_bytes(file).values()) == {1 << 16}


def test_missing_segments_are_named() -> None:
    file = b"".join(container.pack([(container.PLAN, [b"x"])]))
    with pytest.raises(ArtifactError, match="no metadata, code, constants segment"):
        container.segments(memoryview(file))
