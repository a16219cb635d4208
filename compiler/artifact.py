"""The artifact file: a Plan with its weights, kernels, metadata and self-test; see runtime/FORMAT.md.

    magic | header | segment table | PLAN | METADATA | CODE | CONSTANTS | SELFTEST

Segments start at multiples of 4 KiB, so a runtime can use them in place from a memory map; each has a CRC-32
(zlib's).
"""

from __future__ import annotations

import json
import os
import struct
import tempfile
import zlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tilewright import artifact_tables as tables
from tilewright.errors import ArtifactError, TilewrightError
from tilewright.plan import ARENA_ALIGNMENT, Plan

MAGIC: Final = b"\x89TWR\r\n\x1a\n"  # not text, and damaged by anything that rewrites line ends
FORMAT_VERSION: Final = (1, 1)  # major: readers refuse others; minor: readers take any
PAGE: Final = 4096
TENSOR_ALIGNMENT: Final = 64  # of self-test tensors

_HEADER = struct.Struct("<8sHHIQIIII16x")
_CRC_OFFSET = 32  # of the header's own checksum in it
_SEGMENT = struct.Struct("<IIQQII")
_SELFTEST = struct.Struct("<IId")
_REQUIRED = 1  # segment flag: a reader that does not know the kind must refuse the file
_PLAN, _METADATA, _CODE, _CONSTANTS, _TEST = range(1, 6)
_NAMES = {
    _PLAN: "plan",
    _METADATA: "metadata",
    _CODE: "code",
    _CONSTANTS: "constants",
    _TEST: "selftest",
}

assert (_HEADER.size, _SEGMENT.size, _SELFTEST.size) == (56, 32, 16)

Tensors = Mapping[str, npt.NDArray[np.generic]]


@dataclass(frozen=True)
class Selftest:
    """Inputs with the outputs a reference gave for them, by name.

    Attributes:
        tolerance: greatest relative L2 error, |got - want| / |want|, that passes.
    """

    inputs: Tensors
    outputs: Tensors
    tolerance: float


@dataclass(frozen=True)
class Artifact:
    """What compilation ends in and what a runtime loads.

    Attributes:
        metadata: JSON object: recipe, formats of the layers, tool versions, device facts.
        report: the compiler's report, a ``tilewright.report.Report``; None for an artifact that was read from a file.
        graph: the normalised, compressed ONNX graph that was lowered, an ``onnx_ir.Model``; None likewise.
    """

    plan: Plan
    metadata: Mapping[str, Any] = field(default_factory=dict)
    selftest: Selftest | None = None
    report: Any = field(default=None, compare=False, repr=False)
    graph: Any = field(default=None, compare=False, repr=False)

    def to_bytes(self) -> bytes:
        """The file's bytes; the same artifact always gives the same bytes.

        Raises:
            ArtifactError: the plan or the self-test breaks a rule of the format.
        """
        return b"".join(self._chunks())

    def save(self, path: str | Path) -> None:
        """Writes the file whole or not at all: a temporary file beside it is synced, then renamed.

        Raises:
            ArtifactError: as `to_bytes`.
            TilewrightError: the file cannot be written, for example for lack of space.
        """
        goal = Path(path)
        if goal.exists() and not goal.is_file():
            raise TilewrightError(f"{goal}: not a regular file, and an artifact only replaces files")
        chunks = self._chunks()
        temporary: str | None = None
        try:
            handle, temporary = tempfile.mkstemp(prefix=f".{goal.name}.", suffix=".tmp", dir=goal.parent)
            with open(handle, "wb") as file:
                file.writelines(chunks)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(temporary, 0o666 & ~_umask())
            os.replace(temporary, goal)
            temporary = None
        except OSError as error:
            raise TilewrightError(
                f"{goal}: cannot write the artifact ({sum(map(len, chunks))} bytes): {error.strerror}"
            ) from error
        finally:
            if temporary is not None:
                with suppress(OSError):
                    os.unlink(temporary)

    @classmethod
    def load(cls, source: str | Path | bytes) -> Artifact:
        """Reads a file or its bytes; constants are views into one buffer.

        Raises:
            ArtifactError: not an artifact, damaged, or of a format this version does not read.
            TilewrightError: the file cannot be read.
        """
        if isinstance(source, bytes):
            return _read(memoryview(source))
        try:
            return _read(memoryview(Path(source).read_bytes()))
        except OSError as error:
            raise TilewrightError(f"{source}: cannot read the artifact: {error.strerror}") from error
        except ArtifactError as error:
            raise ArtifactError(f"{source}: {error}") from error

    def _chunks(self) -> list[bytes | memoryview]:
        code, constants = tables.Pool(16), tables.Pool(ARENA_ALIGNMENT)
        plan = tables.encode(self.plan, code, constants)
        try:
            text = json.dumps(self.metadata, sort_keys=True, separators=(",", ":"), allow_nan=False)
        except (TypeError, ValueError) as error:
            raise ArtifactError(f"metadata is not JSON: {error}") from error
        segments: list[tuple[int, Sequence[bytes | memoryview]]] = [
            (_PLAN, [plan]),
            (_METADATA, [text.encode()]),
            (_CODE, code.parts),
            (_CONSTANTS, constants.parts),
        ]
        if self.selftest is not None:
            segments.append((_TEST, _encode_selftest(self.plan, self.selftest)))
        return _container(segments)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _container(segments: Sequence[tuple[int, Sequence[bytes | memoryview]]]) -> list[bytes | memoryview]:
    head_bytes = _HEADER.size + _SEGMENT.size * len(segments)
    end = head_bytes
    table = b""
    body: list[bytes | memoryview] = []
    for kind, parts in segments:
        offset = tables.align(end, PAGE)
        nbytes, crc = 0, 0
        for part in parts:
            nbytes += len(part)
            crc = zlib.crc32(part, crc)
        required = 0 if kind in (_METADATA, _TEST) else _REQUIRED
        table += _SEGMENT.pack(kind, required, offset, nbytes, crc, 0)
        body += [bytes(offset - end), *parts]
        end = offset + nbytes

    def header(crc: int) -> bytes:
        return _HEADER.pack(MAGIC, *FORMAT_VERSION, _HEADER.size, end, len(segments), _SEGMENT.size, crc, 0)

    return [header(zlib.crc32(header(0) + table)) + table, *body]


def _read(data: memoryview) -> Artifact:
    segments = _segments(data)
    missing = [name for kind, name in _NAMES.items() if kind not in segments and kind != _TEST]
    if missing:
        raise ArtifactError(f"damaged artifact: no {', '.join(missing)} segment")
    plan = tables.decode(segments[_PLAN], segments[_CODE], segments[_CONSTANTS])
    try:
        metadata = json.loads(str(segments[_METADATA], "utf-8"))
    except (ValueError, RecursionError) as error:
        raise ArtifactError(f"damaged artifact: metadata is not JSON ({error})") from error
    if not isinstance(metadata, dict):
        raise ArtifactError("damaged artifact: metadata is not a JSON object")
    selftest = _decode_selftest(plan, segments[_TEST]) if _TEST in segments else None
    return Artifact(plan, metadata, selftest)


def _segments(data: memoryview) -> dict[int, memoryview]:
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
    segments: dict[int, memoryview] = {}
    for index in range(count):
        kind, flags, offset, nbytes, crc, _ = _SEGMENT.unpack_from(data, header_bytes + index * stride)
        name = _NAMES.get(kind, f"number {kind}")
        if offset % PAGE or offset < end or offset + nbytes > len(data) or any(data[end:offset]):
            raise ArtifactError(f"damaged artifact: {name} segment out of place, or padding before it not zero")
        if zlib.crc32(data[offset : offset + nbytes]) != crc:
            raise ArtifactError(f"damaged artifact: checksum of the {name} segment does not match")
        if kind in segments or (kind not in _NAMES and flags & _REQUIRED):
            raise ArtifactError(f"artifact has a {name} segment that is unknown here, or has it twice")
        segments[kind] = data[offset : offset + nbytes]
        end = offset + nbytes
    if end != len(data):
        raise ArtifactError("damaged artifact: bytes after the last segment")
    return segments


def _encode_selftest(plan: Plan, selftest: Selftest) -> list[bytes]:
    parts = [_SELFTEST.pack(_SELFTEST.size, 1, selftest.tolerance)]
    size = _SELFTEST.size
    for indices, given in ((plan.inputs, selftest.inputs), (plan.outputs, selftest.outputs)):
        for buffer in (plan.buffers[index] for index in indices):
            tensor = given.get(buffer.name)
            if tensor is None or tensor.shape != buffer.shape or tensor.dtype != np.dtype(buffer.dtype):
                found = "nothing" if tensor is None else f"{tensor.dtype} {tensor.shape}"
                raise ArtifactError(f"self-test {buffer.name}: {found} given, {buffer.dtype} {buffer.shape} needed")
            offset = tables.align(size, TENSOR_ALIGNMENT)
            parts += [bytes(offset - size), np.ascontiguousarray(tensor).tobytes()]
            size = offset + buffer.nbytes
    return parts


def _decode_selftest(plan: Plan, segment: memoryview) -> Selftest:
    if len(segment) < _SELFTEST.size:
        raise ArtifactError("damaged artifact: selftest segment too short")
    end, cases, tolerance = _SELFTEST.unpack_from(segment)
    if cases != 1 or end < _SELFTEST.size:
        raise ArtifactError(f"damaged artifact: selftest segment with {cases} cases")
    groups: list[dict[str, npt.NDArray[np.generic]]] = [{}, {}]
    for group, indices in zip(groups, (plan.inputs, plan.outputs), strict=True):
        for buffer in (plan.buffers[index] for index in indices):
            offset = tables.align(end, TENSOR_ALIGNMENT)
            end = offset + buffer.nbytes
            if end > len(segment):
                raise ArtifactError("damaged artifact: selftest segment too short")
            group[buffer.name] = np.frombuffer(segment[offset:end], buffer.dtype).reshape(buffer.shape)
    if end != len(segment):
        raise ArtifactError("damaged artifact: bytes after the last self-test tensor")
    return Selftest(groups[0], groups[1], tolerance)
