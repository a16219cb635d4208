"""The outermost layer of an artifact file: segments at multiples of 4 KiB, each with a checksum; runtime/FORMAT.md.

Tables, metadata and code of more than a page lie deflated (RFC 1951) in the file: kernels are alike for the most part,
and so are the tables' entries.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from typing import Final

from tilewright.artifact_tables import align
from tilewright.errors import ArtifactError

MAGIC: Final = b"\x89TWR\r\n\x1a\n"  # not text, and damaged by anything that rewrites line ends
FORMAT_VERSION: Final = (1, 2)  # major: readers refuse others; minor: readers take any
PAGE: Final = 4096
PLAN, METADATA, CODE, CONSTANTS, SELFTEST = range(1, 6)

_HEADER = struct.Struct("<8sHHIQIIII16x")
_CRC_OFFSET = 32  # of the header's own checksum in it
_SEGMENT = struct.Struct("<IIQQII")
_SIZE = struct.Struct("<Q")  # before a DEFLATE stream: how many bytes it expands to
DEFLATED: Final = 256  # added to the kind of a segment that holds such a stream
_DEFLATES = (PLAN, METADATA, CODE)
_GREATEST_EXPANSION = 32  # so that what a reader allocates is linear in the file
_REQUIRED = 1  # segment flag: a reader that does not know the kind must refuse the file
_NAMES = {PLAN: "plan", METADATA: "metadata", CODE: "code", CONSTANTS: "constants", SELFTEST: "selftest"}

assert (_HEADER.size, _SEGMENT.size) == (56, 32)


def head_bytes(count: int) -> int:
    """Bytes of the header and of the table of ``count`` segments."""
    return _HEADER.size + _SEGMENT.size * count


def pack(segments: Sequence[tuple[int, Sequence[bytes | memoryview]]]) -> list[bytes | memoryview]:
    """The file in pieces.

    Args:
        segments: kind and pieces of each, in the order of the file.
    """
    head_bytes = _HEADER.size + _SEGMENT.size * len(segments)
    end = head_bytes
    table = b""
    body: list[bytes | memoryview] = []
    for kind, parts in segments:
        offset = align(end, PAGE)
        required = 0 if kind in (METADATA, SELFTEST) else _REQUIRED
        if kind in _DEFLATES and (deflated := _deflated(b"".join(parts))):
            kind, parts, required = kind + DEFLATED, [deflated], _REQUIRED
        nbytes, crc = 0, 0
        for part in parts:
            nbytes += len(part)
            crc = zlib.crc32(part, crc)
        table += _SEGMENT.pack(kind, required, offset, nbytes, crc, 0)
        body += [bytes(offset - end), *parts]
        end = offset + nbytes

    def header(crc: int) -> bytes:
        return _HEADER.pack(MAGIC, *FORMAT_VERSION, _HEADER.size, end, len(segments), _SEGMENT.size, crc, 0)

    return [header(zlib.crc32(header(0) + table)) + table, *body]


def _deflated(data: bytes) -> bytes:
    """Its size and a DEFLATE stream; nothing for a page or less, or where that would not pay."""
    if len(data) <= PAGE:
        return b""
    coder = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS, 9)
    stream = coder.compress(data) + coder.flush()
    pays = _SIZE.size + len(stream) < len(data) <= _GREATEST_EXPANSION * len(stream)
    return _SIZE.pack(len(data)) + stream if pays else b""


def _expanded(data: memoryview, name: str) -> memoryview:
    if len(data) < _SIZE.size:
        raise ArtifactError(f"damaged artifact: {name} segment too short")
    (nbytes,) = _SIZE.unpack_from(data)
    stream = data[_SIZE.size :]
    if nbytes > _GREATEST_EXPANSION * len(stream):
        raise ArtifactError(f"damaged artifact: {name} segment expands too far")
    decoder = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        out = decoder.decompress(stream, nbytes + 1)  # one more than there should be
    except zlib.error as error:
        raise ArtifactError(f"damaged artifact: {name} segment does not expand ({error})") from error
    if len(out) != nbytes or not decoder.eof or decoder.unused_data or decoder.unconsumed_tail:
        raise ArtifactError(f"damaged artifact: {name} segment does not expand to what it says")
    return memoryview(out)


def segments(data: memoryview) -> dict[int, memoryview]:
    """The bytes of each segment by kind, expanded; all but SELFTEST are there.

    Raises:
        ArtifactError: not an artifact, damaged, or of a format this version does not read.
    """
    return {kind: _expanded(body, _NAMES[kind]) if coded else body for kind, (body, coded) in _stored(data).items()}


def file_bytes(data: memoryview) -> dict[int, int]:
    """What each segment takes in the file, by kind.

    Raises:
        ArtifactError: as `segments`.
    """
    return {kind: len(body) for kind, (body, _) in _stored(data).items()}


def _stored(data: memoryview) -> dict[int, tuple[memoryview, bool]]:
    """By kind: a segment as it lies in the file, and whether it is deflated."""
    if len(data) < _HEADER.size or bytes(data[: len(MAGIC)]) != MAGIC:
        raise ArtifactError("not a Tilewright artifact (wrong magic number)")
    _, major, minor, header_bytes, file_bytes, count, stride, crc, _ = _HEADER.unpack_from(data)
    if major != FORMAT_VERSION[0]:
        raise ArtifactError(
            f"artifact of format {major}.{minor}, this version reads {FORMAT_VERSION[0]}.x: compile again"
        )
    if file_bytes != len(data):
        raise ArtifactError(f"damaged artifact: {len(data)} bytes, its header says {file_bytes}")
    end = header_bytes + count * stride
    if header_bytes < _HEADER.size or stride < _SEGMENT.size or end > len(data):
        raise ArtifactError("damaged artifact: segment table out of range")
    head = bytearray(data[:end])
    head[_CRC_OFFSET : _CRC_OFFSET + 4] = bytes(4)
    if zlib.crc32(head) != crc:
        raise ArtifactError("damaged artifact: header checksum does not match")
    found: dict[int, tuple[memoryview, bool]] = {}
    for index in range(count):
        kind, flags, offset, nbytes, crc, _ = _SEGMENT.unpack_from(data, header_bytes + index * stride)
        deflated = kind - DEFLATED in _DEFLATES
        kind -= DEFLATED if deflated else 0
        name = _NAMES.get(kind, f"number {kind}")
        if offset % PAGE or offset < end or offset + nbytes > len(data) or any(data[end:offset]):
            raise ArtifactError(f"damaged artifact: {name} segment out of place, or padding before it not zero")
        if zlib.crc32(data[offset : offset + nbytes]) != crc:
            raise ArtifactError(f"damaged artifact: checksum of the {name} segment does not match")
        if kind in found or (kind not in _NAMES and flags & _REQUIRED):
            raise ArtifactError(f"artifact has a {name} segment that is unknown here, or has it twice")
        found[kind] = data[offset : offset + nbytes], deflated
        end = offset + nbytes
    if end != len(data):
        raise ArtifactError("damaged artifact: bytes after the last segment")
    missing = [name for kind, name in _NAMES.items() if kind not in found and kind != SELFTEST]
    if missing:
        raise ArtifactError(f"damaged artifact: no {', '.join(missing)} segment")
    return found
