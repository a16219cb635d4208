"""The outermost layer of an artifact file: segments at multiples of 4 KiB, each with a checksum; runtime/FORMAT.md."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from typing import Final

from tilewright.artifact_tables import align
from tilewright.errors import ArtifactError

MAGIC: Final = b"\x89TWR\r\n\x1a\n"  # not text, and damaged by anything that rewrites line ends
FORMAT_VERSION: Final = (1, 1)  # major: readers refuse others; minor: readers take any
PAGE: Final = 4096
PLAN, METADATA, CODE, CONSTANTS, SELFTEST = range(1, 6)

_HEADER = struct.Struct("<8sHHIQIIII16x")
_CRC_OFFSET = 32  # of the header's own checksum in it
_SEGMENT = struct.Struct("<IIQQII")
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
        nbytes, crc = 0, 0
        for part in parts:
            nbytes += len(part)
            crc = zlib.crc32(part, crc)
        required = 0 if kind in (METADATA, SELFTEST) else _REQUIRED
        table += _SEGMENT.pack(kind, required, offset, nbytes, crc, 0)
        body += [bytes(offset - end), *parts]
        end = offset + nbytes

    def header(crc: int) -> bytes:
        return _HEADER.pack(MAGIC, *FORMAT_VERSION, _HEADER.size, end, len(segments), _SEGMENT.size, crc, 0)

    return [header(zlib.crc32(header(0) + table)) + table, *body]


def segments(data: memoryview) -> dict[int, memoryview]:
    """The bytes of each segment by kind; all but SELFTEST are there.

    Raises:
        ArtifactError: not an artifact, damaged, or of a format this version does not read.
    """
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
    found: dict[int, memoryview] = {}
    for index in range(count):
        kind, flags, offset, nbytes, crc, _ = _SEGMENT.unpack_from(data, header_bytes + index * stride)
        name = _NAMES.get(kind, f"number {kind}")
        if offset % PAGE or offset < end or offset + nbytes > len(data) or any(data[end:offset]):
            raise ArtifactError(f"damaged artifact: {name} segment out of place, or padding before it not zero")
        if zlib.crc32(data[offset : offset + nbytes]) != crc:
            raise ArtifactError(f"damaged artifact: checksum of the {name} segment does not match")
        if kind in found or (kind not in _NAMES and flags & _REQUIRED):
            raise ArtifactError(f"artifact has a {name} segment that is unknown here, or has it twice")
        found[kind] = data[offset : offset + nbytes]
        end = offset + nbytes
    if end != len(data):
        raise ArtifactError("damaged artifact: bytes after the last segment")
    missing = [name for kind, name in _NAMES.items() if kind not in found and kind != SELFTEST]
    if missing:
        raise ArtifactError(f"damaged artifact: no {', '.join(missing)} segment")
    return found
