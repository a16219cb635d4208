"""Streams of nna-vbd that are damaged, and what their text says. Every error names the operation and the reason."""

from __future__ import annotations

import struct
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.lower.vbd.networks import Builder, every_operation
from tilewright.errors import ArtifactError
from tilewright.integer.elementwise import Affine
from tilewright.integer.network import View
from tilewright.lower.vbd import Stream, compile_network
from tilewright.runtime import nna, vbd

HEADER, MAP = 4, 6  # words


def convolution() -> Stream:
    """4 x 4 x 3 to 4 x 4 x 5: maps 0 and 1, one operation, a weight of 6 bits in 17 bytes and more."""
    b = Builder(0)
    x = b.map(4, 4, 3, affine=Affine(0.05, 5, "uint8"))
    return compile_network(b.network([x], [b.conv(x, 5, bits=6)]))


def binary() -> Stream:
    b = Builder(1)
    x = b.map(2, 3, 4, affine=Affine(0.05, 5, "uint8"))
    return compile_network(b.network([x], [b.binary("ADD", x, x)]))


def moves() -> Stream:
    b = Builder(2)
    x = b.map(2, 3, 4, affine=Affine(0.05, 5, "uint8"))
    return compile_network(b.network([x], [b.resize(b.concat(x, x), 2, 2)]))


def run(stream: Stream, payload: bytes, weights: bytes | None = None, limit: int = 0) -> None:
    regions = {0: nna.Region(np.frombuffer(stream.weights if weights is None else weights, np.uint8), writable=False)}
    regions |= {number: nna.Region(np.zeros(4096, np.uint8)) for number in (1, 2, 3)}
    nna.run(payload, regions, limit)


def change(payload: bytes, word: int, value: int) -> bytes:
    return payload[: 4 * word] + struct.pack("<I", value & 0xFFFFFFFF) + payload[4 * word + 4 :]


def first(stream: Stream) -> int:
    """The word where operations start."""
    return HEADER + MAP * int(struct.unpack("<I", stream.payload[8:12])[0])


@pytest.mark.parametrize("make", [convolution, binary, moves])
def test_whole_streams_run(make: Callable[[], Stream]) -> None:
    stream = make()
    run(stream, stream.payload)


@pytest.mark.parametrize(
    ("word", "value", "reason"),
    [
        (1, 9, "header does not agree with"),
        (2, 99, "99 maps in"),
        (3, 2, "operation 1 of 2 is missing"),
        (3, 0, "words after the last operation"),
        (HEADER, 2 | 9 << 8, "map 0 has a depth of 9 bits"),
        (HEADER, 2 | 8 << 8 | 4 << 16, "map 0 has unknown flags"),
        (HEADER + 1, 256, "zero point of 256, which 8 bits do not hold"),
        (HEADER + 2, 0, "map 0 has a dimension of 0"),
        (HEADER + 4, 1 << 21, "map 0 has a dimension of 2097152"),
        (HEADER, 9 | 8 << 8, "a map lies in region 9 of 8"),
        (HEADER, 7 | 8 << 8, "needs 48 bytes at 0 of region 7, which has 0"),
        (HEADER + 5, 4090, "needs 48 bytes at 4090 of region 2"),
    ],
)
def test_damaged_headers_and_maps(word: int, value: int, reason: str) -> None:
    stream = convolution()
    with pytest.raises(ArtifactError, match=reason):
        run(stream, change(stream.payload, word, value))


@pytest.mark.parametrize(
    ("word", "value", "reason"),
    [
        (0, 99 | 19 << 16, "operation 0: unknown operation code 99"),
        (0, 1 | 99 << 16, "CONVOLUTION: 99 words, of which 17 are there"),
        (1, 7, "operation 0, CONVOLUTION: map 7 of 2"),
        (3, 0 | 1 << 16, "a window with a size, stride or dilation of 0"),
        (3, 2 | 1 << 16, "a window that does not make 4 x 4 of 4 x 4"),
        (6, 5, "padding that is as wide as the window"),
        (8, 1 << 20, "a layer's weights needs 12 bytes at 1048576 of region 0"),
        (9, 9, "weights with a depth of 9 bits"),
        (11, 7, "biases of 7 bytes"),
        (13, 3, "3 scales for 5 channels"),
        (14, 3, "unknown rounding 3"),
        (16, 1 << 17, "which .* bits do not hold"),
    ],
)
def test_damaged_convolutions(word: int, value: int, reason: str) -> None:
    stream = convolution()
    with pytest.raises(ArtifactError, match=reason):
        run(stream, change(stream.payload, first(stream) + word, value))


def test_other_damaged_operations() -> None:
    stream = binary()
    for word, value, reason in (
        (4, 25, "25 spare bits"),
        (6, 64, "a shift of 64"),
    ):
        with pytest.raises(ArtifactError, match=f"ADD: {reason}"):
            run(stream, change(stream.payload, first(stream) + word, value))
    with pytest.raises(ArtifactError, match="operands of 2 and 2 rows, columns or channels for 1"):
        run(stream, change(stream.payload, HEADER + MAP + 2, 1))
    stream = moves()
    resize = first(stream) + 5
    for word, value, reason in (
        (2, 3, "CONCAT: 1 fields too many|CONCAT: fields are missing"),
        (resize - first(stream) + 3, 65, "RESIZE: factors of 65 and 2"),
        (resize - first(stream) + 3, 1, "do not make the target"),
    ):
        with pytest.raises(ArtifactError, match=reason):
            run(stream, change(stream.payload, first(stream) + word, value))


def test_truncated_weights_and_limits() -> None:
    stream = convolution()
    with pytest.raises(ArtifactError, match=r"a layer's scales needs .* of region 0"):
        run(stream, stream.payload, stream.weights[:-1])
    with pytest.raises(ArtifactError, match="more work than the limit of 100"):
        run(stream, stream.payload, limit=100)
    with pytest.raises(ArtifactError, match="header does not agree with"):
        run(stream, stream.payload[:-4])
    with pytest.raises(ArtifactError, match="to be written to region 0, which is read-only"):
        run(stream, change(stream.payload, HEADER + MAP, 16 << 8), stream.weights + bytes(999))


@given(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1))
def test_any_word_may_be_anything(seed: int, value: int) -> None:
    """A run to the end, or an error with a reason; the fuzzer does more of this."""
    stream = convolution()
    reason = "command stream: and why it did not run"
    try:
        run(stream, change(stream.payload, seed % (len(stream.payload) // 4), value), limit=1 << 16)
    except ArtifactError as error:
        reason = str(error)
    assert len(reason) > 20


def test_streams_as_text() -> None:
    _, network = every_operation(3)
    stream = compile_network(network)
    lines = vbd.disassemble(stream.payload)
    names = [record.name for record in vbd.records(stream.payload)]
    assert names == [layer.operation for layer in stream.layers]
    assert len(names) == sum(not isinstance(operation, View) for operation in network.operations)
    assert len(lines) == len(names) + struct.unpack("<I", stream.payload[8:12])[0]
    x = network.maps[0]
    assert f"9 x 8 x 5          zero {x.affine.zero}" in lines[0]
    assert lines[0].endswith("region 2 + 0, padded")
    first_layer = next(line for line in lines if " CONVOLUTION " in line)
    assert "kernel=3,2 strides=1,1 dilations=1,1" in first_layer
    assert "bits=4" in first_layer


def test_text_of_damaged_streams() -> None:
    stream = convolution()
    for payload, reason in (
        (stream.payload[:-4], "cut off"),
        (b"COP1" + stream.payload[4:], "no VBD1 stream"),
        (change(stream.payload, 2, 99), "maps are missing"),
        (change(stream.payload, 3, 2), "operations are missing"),
        (change(stream.payload, first(stream), 99), "unknown operation"),
    ):
        with pytest.raises(ArtifactError, match=reason):
            vbd.disassemble(payload)
