"""The runtime's DEFLATE decoder against zlib's: the same of every kind of stream, and the same damage refused."""

from __future__ import annotations

import json
import struct
import zlib
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.fuzz.make_corpus import seeds
from tilewright import artifact_container as container
from tilewright.artifact import Artifact
from tilewright.errors import ArtifactError
from tilewright.runtime import Session

SEGMENTS = container.segments(memoryview(seeds()["copy.tw"].to_bytes()))
STRATEGIES = (zlib.Z_DEFAULT_STRATEGY, zlib.Z_FILTERED, zlib.Z_HUFFMAN_ONLY, zlib.Z_RLE, zlib.Z_FIXED)


def with_metadata(stream: bytes, nbytes: int) -> bytes:
    """An artifact whose metadata are what a DEFLATE stream expands to."""
    deflated = container.METADATA + container.DEFLATED, [struct.pack("<Q", nbytes) + stream]
    segments = [deflated if kind == container.METADATA else (kind, [data]) for kind, data in SEGMENTS.items()]
    return b"".join(container.pack(segments))


def deflate(text: bytes, level: int = 9, strategy: int = zlib.Z_DEFAULT_STRATEGY) -> bytes:
    coder = zlib.compressobj(level, zlib.DEFLATED, -zlib.MAX_WBITS, 9, strategy)
    return coder.compress(text) + coder.flush()


def read(file: bytes) -> Any:
    with Session(file) as session:
        return session.metadata


# Few letters make matches, many make long codes; repetitions reach back as far as DEFLATE can.
texts = st.builds(
    lambda letters, seed, times: "".join(seed.choices(letters, k=2000)) * times,
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=300),
    st.randoms(use_true_random=False),
    st.integers(1, 25),
)


@given(texts, st.integers(0, 9), st.sampled_from(STRATEGIES))
@example("", 9, zlib.Z_FIXED)
@settings(max_examples=100, deadline=None)
def test_every_kind_of_stream_expands_to_what_it_was_made_of(text: str, level: int, strategy: int) -> None:
    metadata = {"note": text}
    data = json.dumps(metadata, ensure_ascii=False).encode()
    stream = deflate(data, level, strategy)
    if len(data) > 32 * len(stream):
        return  # more than the format allows
    file = with_metadata(stream, len(data))
    assert read(file) == metadata
    assert Artifact.load(file).metadata == metadata


TEXT = json.dumps({"note": [n * n % 97 for n in range(400)]}).encode()
STREAMS = [deflate(TEXT, 9), deflate(TEXT, 9, zlib.Z_FIXED), deflate(TEXT, 0)]


@given(st.sampled_from(STREAMS), st.data())
@settings(max_examples=300, deadline=None)
def test_both_readers_agree_on_damaged_streams(stream: bytes, draw: st.DataObject) -> None:
    damaged = bytearray(stream)
    for _ in range(draw.draw(st.integers(1, 3))):
        damaged[draw.draw(st.integers(0, min(len(stream) - 1, 200)))] = draw.draw(st.integers(0, 255))
    file = with_metadata(bytes(damaged), len(TEXT))
    try:
        expected = Artifact.load(file).metadata
    except ArtifactError:
        with pytest.raises(ArtifactError):
            read(file)
    else:
        assert read(file) == expected


@pytest.mark.parametrize(
    ("stream", "nbytes", "match"),
    [
        (STREAMS[0], len(TEXT) - 1, "does not expand"),
        (STREAMS[0], len(TEXT) + 1, "does not expand"),
        (STREAMS[0] + b"\0", len(TEXT), "does not expand"),
        (STREAMS[0][:-1], len(TEXT), "does not expand"),
        (b"", 0, "does not expand"),
        (b"\x07", 1, "does not expand"),  # a block of the kind that does not exist
        (STREAMS[0], 1 << 40, "expands too far"),
        (deflate(b" " * 100_000), 100_000, "expands too far"),
    ],
)
def test_streams_of_another_length_are_refused(stream: bytes, nbytes: int, match: str) -> None:
    file = with_metadata(stream, nbytes)
    for load in (read, Artifact.load):
        with pytest.raises(ArtifactError, match=match):
            load(file)
