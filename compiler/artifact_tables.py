"""The PLAN segment of an artifact: a Plan as little-endian tables. runtime/FORMAT.md documents every byte."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from tilewright.errors import ArtifactError
from tilewright.plan import ARENA_ALIGNMENT, COPY, Buffer, BufferKind, Image, Launch, Module, Plan

DTYPES: Final = (
    "bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64",
    "float16", "float32", "float64",
)  # fmt: skip
"""NumPy dtype names; the index is the code in the file."""

NO_STRING: Final = 0xFFFFFFFF
STORAGE_RAW: Final = 0
MAX_RANK: Final = 32

_HEADER = struct.Struct("<IIQQIIIIII")
_TABLE = struct.Struct("<IIII")
_STRING = struct.Struct("<II")
_BUFFER = struct.Struct("<IBBBBIIQQ")
_LAUNCH = struct.Struct("<Ii2I3I3I2I")
_MODULE = struct.Struct("<IIII")
_IMAGE = struct.Struct("<IIIIIIQQ")

# Table numbers, in file order.
_BLOB, _STRINGS, _INDICES, _DIMS, _BUFFERS, _LAUNCHES, _MODULES, _IMAGES = range(8)
_STRIDES = (1, _STRING.size, 4, 8, _BUFFER.size, _LAUNCH.size, _MODULE.size, _IMAGE.size)

assert (_HEADER.size, _TABLE.size, _STRIDES) == (48, 16, (1, 8, 4, 8, 32, 48, 16, 40))


def align(value: int, alignment: int) -> int:
    """The least multiple of ``alignment`` that is at least ``value``."""
    return -(-value // alignment) * alignment


@dataclass
class Pool:
    """Bytes at aligned offsets, equal contents stored once. The CODE and CONSTANTS segments are pools."""

    alignment: int
    parts: list[bytes | memoryview] = field(default_factory=list)
    size: int = 0
    _places: dict[bytes, int] = field(default_factory=dict)

    def add(self, data: bytes | memoryview) -> int:
        """Returns the offset of ``data`` in the pool."""
        digest = hashlib.sha256(data).digest()
        if digest not in self._places:
            offset = align(self.size, self.alignment)
            self.parts += [bytes(offset - self.size), data]
            self.size = offset + len(data)
            self._places[digest] = offset
        return self._places[digest]


class _Writer:
    def __init__(self) -> None:
        self.tables = [bytearray() for _ in _STRIDES]
        self._strings: dict[str, int] = {}

    def string(self, text: str) -> int:
        if text not in self._strings:
            data = text.encode()
            if b"\0" in data:
                raise ArtifactError(f"name {text!r} holds a NUL character")
            self.tables[_STRINGS] += _STRING.pack(len(self.tables[_BLOB]), len(data))
            self.tables[_BLOB] += data + b"\0"
            self._strings[text] = len(self._strings)
        return self._strings[text]

    def indices(self, values: Iterable[int]) -> tuple[int, int]:
        values = tuple(values)
        first = len(self.tables[_INDICES]) // 4
        self.tables[_INDICES] += struct.pack(f"<{len(values)}I", *values)
        return first, len(values)

    def buffer(self, buffer: Buffer, constants: Pool) -> None:
        offset = buffer.offset
        if buffer.kind is BufferKind.CONSTANT:
            assert buffer.data is not None  # check() has seen it
            little = np.dtype(buffer.dtype).newbyteorder("<")
            data = np.ascontiguousarray(buffer.data, little).reshape(-1).view(np.uint8)
            offset = constants.add(data.data)
        dims = len(self.tables[_DIMS]) // 8
        self.tables[_DIMS] += struct.pack(f"<{len(buffer.shape)}Q", *buffer.shape)
        self.tables[_BUFFERS] += _BUFFER.pack(
            self.string(buffer.name), buffer.kind, DTYPES.index(buffer.dtype), STORAGE_RAW, len(buffer.shape),
            dims, 0, offset, buffer.nbytes,
        )  # fmt: skip

    def launch(self, launch: Launch) -> None:
        self.tables[_LAUNCHES] += _LAUNCH.pack(
            self.string(launch.kernel), launch.module, *self.indices(launch.args),
            *launch.grid, *launch.block, *self.indices(map(self.string, launch.layers)),
        )  # fmt: skip

    def module(self, module: Module, code: Pool) -> None:
        first = len(self.tables[_IMAGES]) // _IMAGE.size
        self.tables[_MODULES] += _MODULE.pack(self.string(module.name), first, len(module.images), 0)
        for image in module.images:
            self.tables[_IMAGES] += _IMAGE.pack(
                self.string(image.kind), self.string(image.arch), self.string(image.options),
                *self.indices(map(self.string, image.features)), 0, code.add(image.data), len(image.data),
            )  # fmt: skip


def encode(plan: Plan, code: Pool, constants: Pool) -> bytes:
    """The PLAN segment; kernel images go to ``code``, weights to ``constants``.

    Raises:
        ArtifactError: the plan breaks a rule that the runtime's loader enforces; all of them are listed.
    """
    check(plan)
    writer = _Writer()
    target, backend = writer.string(plan.target), writer.string(plan.backend)
    inputs, outputs = writer.indices(plan.inputs), writer.indices(plan.outputs)
    for buffer in plan.buffers:
        writer.buffer(buffer, constants)
    for launch in plan.launches:
        writer.launch(launch)
    for module in plan.modules:
        writer.module(module, code)
    offset = _HEADER.size + _TABLE.size * len(_STRIDES)
    heads, bodies = b"", b""
    for table, stride in zip(writer.tables, _STRIDES, strict=True):
        heads += _TABLE.pack(offset + len(bodies), len(table) // stride, stride, 0)
        bodies += bytes(table) + bytes(-len(table) % 8)
    head = _HEADER.pack(
        _HEADER.size, len(_STRIDES), plan.arena_bytes, plan.scratch_bytes, target, backend, *inputs, *outputs
    )
    return head + heads + bodies


def decode(segment: memoryview, code: memoryview, constants: memoryview) -> Plan:
    """Reads what `encode` wrote; constants are views into ``constants``.

    Raises:
        ArtifactError: anything out of range.
    """
    try:
        return _decode(segment, code, constants)
    except (struct.error, IndexError, ValueError, OverflowError, KeyError) as error:
        raise ArtifactError(f"damaged artifact: plan tables do not parse ({error})") from error


def _decode(segment: memoryview, code: memoryview, constants: memoryview) -> Plan:
    header = _HEADER.unpack_from(segment)
    header_bytes, table_count, arena_bytes, scratch_bytes, target, backend, *ranges = header
    if header_bytes < _HEADER.size or table_count < len(_STRIDES):
        raise ValueError("header too short")
    tables: list[list[memoryview]] = []
    for number, least in enumerate(_STRIDES):
        offset, count, stride, _ = _TABLE.unpack_from(segment, header_bytes + number * _TABLE.size)
        if stride < least or offset + count * stride > len(segment):
            raise ValueError(f"table {number} out of range")
        body = segment[offset : offset + count * stride]
        tables.append([body] if stride == 1 else [body[i * stride :][:least] for i in range(count)])

    blob = tables[_BLOB][0]

    def text(index: int) -> str:
        offset, length = _STRING.unpack(tables[_STRINGS][index])
        if offset + length >= len(blob) or blob[offset + length] != 0:
            raise ValueError("string out of range")
        return str(blob[offset : offset + length], "utf-8")

    def part(table: int, first: int, count: int, limit: int = 1 << 32) -> list[memoryview]:
        if first + count > len(tables[table]) or count > limit:
            raise ValueError("range out of its table")
        return tables[table][first : first + count]

    list_end = 0

    def numbers(first: int, count: int) -> tuple[int, ...]:
        nonlocal list_end
        if first < list_end:  # lists that overlap could make a small file take forever
            raise ValueError("lists overlap")
        list_end = first + count
        return tuple(int.from_bytes(item, "little") for item in part(_INDICES, first, count))

    def cut(data: memoryview, offset: int, nbytes: int) -> memoryview:
        if offset + nbytes > len(data):
            raise ValueError("data out of its segment")
        return data[offset : offset + nbytes]

    def buffer(item: memoryview) -> Buffer:
        name, kind, dtype, storage, rank, dims, _, offset, nbytes = _BUFFER.unpack(item)
        if storage != STORAGE_RAW:
            raise ValueError(f"storage {storage} of buffer {text(name)} is not known")
        shape = tuple(int.from_bytes(dim, "little") for dim in part(_DIMS, dims, rank, MAX_RANK))
        view: npt.NDArray[np.generic] | None = None
        if kind == BufferKind.CONSTANT:
            view = np.frombuffer(cut(constants, offset, nbytes), dtype=DTYPES[dtype]).reshape(shape)
        place = offset if kind == BufferKind.ARENA else 0
        found = Buffer(text(name), BufferKind(kind), DTYPES[dtype], shape, place, view)
        if found.nbytes != nbytes:
            raise ValueError(f"buffer {found.name} has {nbytes} bytes, its shape needs {found.nbytes}")
        return found

    def launch(item: memoryview) -> Launch:
        kernel, module, first, count, *rest = _LAUNCH.unpack(item)
        args = numbers(first, count)
        layers = tuple(map(text, numbers(rest[6], rest[7])))
        grid, block = (rest[0], rest[1], rest[2]), (rest[3], rest[4], rest[5])
        return Launch(text(kernel), module, args, grid, block, layers)

    def image(item: memoryview) -> Image:
        kind, arch, options, features, feature_count, _, offset, nbytes = _IMAGE.unpack(item)
        names = tuple(map(text, numbers(features, feature_count)))
        return Image(text(kind), text(arch), names, text(options), bytes(cut(code, offset, nbytes)))

    def module(item: memoryview) -> Module:
        name, first, count, _ = _MODULE.unpack(item)
        return Module(text(name), tuple(map(image, part(_IMAGES, first, count))))

    plan = Plan(
        target=text(target),
        backend=text(backend),
        buffers=tuple(map(buffer, tables[_BUFFERS])),
        inputs=numbers(ranges[0], ranges[1]),
        outputs=numbers(ranges[2], ranges[3]),
        launches=tuple(map(launch, tables[_LAUNCHES])),
        modules=tuple(map(module, tables[_MODULES])),
        arena_bytes=arena_bytes,
        scratch_bytes=scratch_bytes,
    )
    check(plan)
    return plan


def check(plan: Plan) -> None:
    """The rules every plan in an artifact keeps; the C++ loader enforces the same.

    Raises:
        ArtifactError: lists everything that is wrong.
    """
    wrong: list[str] = []
    for index, buffer in enumerate(plan.buffers):
        wrong += [f"buffer %{index} {buffer.name}: {what}" for what in _buffer_faults(plan, buffer)]
    for label, kind, listed in (
        ("input", BufferKind.INPUT, plan.inputs),
        ("output", BufferKind.OUTPUT, plan.outputs),
    ):
        held = sorted(i for i, buffer in enumerate(plan.buffers) if buffer.kind is kind)
        if sorted(listed) != held:
            wrong.append(f"{label}s {list(listed)} are not exactly the {label} buffers {held}")
        names = [plan.buffers[i].name for i in held]
        if len(set(names)) != len(names):
            wrong.append(f"two {label}s have one name: {names}")
    for number, launch in enumerate(plan.launches):
        wrong += [f"launch {number} {launch.kernel}: {what}" for what in _launch_faults(plan, launch)]
    wrong += [f"module {module.name}: no image" for module in plan.modules if not module.images]
    if wrong:
        raise ArtifactError("\n".join(["invalid plan:", *(f"  - {line}" for line in wrong)]))


def _buffer_faults(plan: Plan, buffer: Buffer) -> Iterable[str]:
    if buffer.dtype not in DTYPES:
        yield f"dtype {buffer.dtype!r} is not one of {', '.join(DTYPES)}"
        return
    if len(buffer.shape) > MAX_RANK or any(dim < 0 for dim in buffer.shape) or buffer.nbytes >= 1 << 63:
        yield f"bad shape {buffer.shape}"
        return
    if buffer.kind is BufferKind.ARENA:
        if buffer.offset % ARENA_ALIGNMENT:
            yield f"arena offset {buffer.offset} is not a multiple of {ARENA_ALIGNMENT}"
        end = buffer.offset + buffer.nbytes
        if not 0 <= buffer.offset <= end <= plan.arena_bytes:
            yield f"bytes {buffer.offset}..{end} lie outside the arena of {plan.arena_bytes} bytes"
    elif buffer.kind is BufferKind.CONSTANT:
        if buffer.data is None:
            yield "constant without data"
        elif buffer.data.shape != buffer.shape or buffer.data.dtype != np.dtype(buffer.dtype):
            yield f"data is {buffer.data.dtype} {buffer.data.shape}, not {buffer.dtype} {buffer.shape}"


def _launch_faults(plan: Plan, launch: Launch) -> Iterable[str]:
    bad = [arg for arg in launch.args if not 0 <= arg < len(plan.buffers)]
    if bad:
        yield f"arguments {bad} are not buffers"
        return
    if launch.module == COPY:
        args = [plan.buffers[arg] for arg in launch.args]
        if len(args) != 2 or args[0].nbytes != args[1].nbytes:
            yield "a copy takes two buffers of one size"
        elif args[1].kind in (BufferKind.INPUT, BufferKind.CONSTANT):
            yield f"a copy cannot write {args[1].kind.name.lower()} {args[1].name}"
    elif not 0 <= launch.module < len(plan.modules):
        yield f"module {launch.module} does not exist"
    if any(not 0 < size < 1 << 31 for size in (*launch.grid, *launch.block)):
        yield f"grid {launch.grid} or block {launch.block} is not positive"
