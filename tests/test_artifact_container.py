"""Segments in a file: what is packed is found again, in place."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

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


def test_missing_segments_are_named() -> None:
    file = b"".join(container.pack([(container.PLAN, [b"x"])]))
    with pytest.raises(ArtifactError, match="no metadata, code, constants segment"):
        container.segments(memoryview(file))
