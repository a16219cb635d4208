"""The artifact file: a Plan with its weights, kernels, metadata and self-test; see runtime/FORMAT.md.

    magic | header | segment table | PLAN | METADATA | CODE | CONSTANTS | SELFTEST

Segments start at multiples of 4 KiB, so a runtime can use them in place from a memory map; each has a CRC-32
(zlib's).
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tilewright import artifact_container as container
from tilewright import artifact_tables as tables
from tilewright.artifact_sizes import Sizes, sizes
from tilewright.errors import ArtifactError, TilewrightError
from tilewright.files import replace_file
from tilewright.plan import ARENA_ALIGNMENT, Plan

TENSOR_ALIGNMENT: Final = 64  # of self-test tensors

_SELFTEST = struct.Struct("<IId")

assert _SELFTEST.size == 16

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
        coder: codes constants for the file, each once however often the artifact is written.
        graph: the normalised, compressed ONNX graph that was lowered, an ``onnx_ir.Model``; None likewise.
    """

    plan: Plan
    metadata: Mapping[str, Any] = field(default_factory=dict)
    selftest: Selftest | None = None
    report: Any = field(default=None, compare=False, repr=False)
    graph: Any = field(default=None, compare=False, repr=False)
    coder: tables.Coder = field(default_factory=tables.Coder, compare=False, repr=False)

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
        replace_file(path, self._chunks(), "the artifact")

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

    def sizes(self) -> Sizes:
        """What the bytes of the file are spent on; they add up to its size.

        Raises:
            ArtifactError: as `to_bytes`.
        """
        return sizes(memoryview(self.to_bytes()))

    def _chunks(self) -> list[bytes | memoryview]:
        code, constants = tables.Pool(16), tables.Pool(ARENA_ALIGNMENT)
        plan = tables.encode(self.plan, code, constants, self.coder)
        try:
            text = json.dumps(self.metadata, sort_keys=True, separators=(",", ":"), allow_nan=False)
        except (TypeError, ValueError) as error:
            raise ArtifactError(f"metadata is not JSON: {error}") from error
        segments: list[tuple[int, Sequence[bytes | memoryview]]] = [
            (container.PLAN, [plan]),
            (container.METADATA, [text.encode()]),
            (container.CODE, code.parts),
            (container.CONSTANTS, constants.parts),
        ]
        if self.selftest is not None:
            segments.append((container.SELFTEST, _encode_selftest(self.plan, self.selftest)))
        return container.pack(segments)


def _read(data: memoryview) -> Artifact:
    found = container.segments(data)
    plan = tables.decode(found[container.PLAN], found[container.CODE], found[container.CONSTANTS])
    try:
        metadata = json.loads(str(found[container.METADATA], "utf-8"))
    except (ValueError, RecursionError) as error:
        raise ArtifactError(f"damaged artifact: metadata is not JSON ({error})") from error
    if not isinstance(metadata, dict):
        raise ArtifactError("damaged artifact: metadata is not a JSON object")
    selftest = _decode_selftest(plan, found[container.SELFTEST]) if container.SELFTEST in found else None
    return Artifact(plan, metadata, selftest)


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
