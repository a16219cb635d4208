"""The PLAN segment of an artifact: a Plan as little-endian tables. runtime/FORMAT.md documents every byte."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np

from tilewright.artifact_rules import DTYPES, MAX_RANK, check
from tilewright.errors import ArtifactError
from tilewright.formats.storage.entropy import Entropy
from tilewright.plan import ENTROPY, PLACED, RAW, Buffer, BufferKind, Image, Launch, Module, Plan

STORAGES: Final = (RAW, ENTROPY)
"""How a constant's bytes lie in CONSTANTS; the index is the code in the file."""

_HEADER = struct.Struct("<IIQQIIIIIIQQ")
_TABLE = struct.Struct("<IIII")
_STRING = struct.Struct("<II")
_BUFFER = struct.Struct("<IBBBBIIQQQII")
_LAUNCH = struct.Struct("<Ii2I3I3I2I")
_MODULE = struct.Struct("<IIII")
_IMAGE = struct.Struct("<IIIIIIQQ")

# Table numbers, in file order.
_BLOB, _STRINGS, _INDICES, _DIMS, _BUFFERS, _LAUNCHES, _MODULES, _IMAGES, _PROLOGUE = range(9)
_STRIDES = (1, _STRING.size, 4, 8, _BUFFER.size, _LAUNCH.size, _MODULE.size, _IMAGE.size, _LAUNCH.size)

assert (_HEADER.size, _TABLE.size, _STRIDES) == (64, 16, (1, 8, 4, 8, 48, 48, 16, 40, 48))

# What format 1.0 had; whatever came later reads as zeros in a file of that version.
_HEADER_1_0, _TABLES_1_0, _STRIDES_1_0 = 48, 8, (1, 8, 4, 8, 32, 48, 16, 40)


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

    def add(self, data: bytes | memoryview, alignment: int = 0) -> int:
        """Returns the offset of ``data`` in the pool, a multiple of the pool's alignment or the one given."""
        digest = hashlib.sha256(data).digest()
        if digest not in self._places or self._places[digest] % (alignment or self.alignment):
            offset = align(self.size, alignment or self.alignment)
            self.parts += [bytes(offset - self.size), data]
            self.size = offset + len(data)
            self._places[digest] = offset
        return self._places[digest]


@dataclass(frozen=True)
class _Place:
    """Where a buffer lies in its arena or in CONSTANTS, and the bytes that it takes in the file."""

    offset: int
    nbytes: int = 0


@dataclass
class Coder:
    """Entropy-codes arrays, each once: coding tens of millions of weights takes seconds."""

    _known: dict[tuple[int, int], tuple[object, bytes]] = field(default_factory=dict)

    def code(self, buffer: Buffer) -> bytes:
        """The constant's bytes in the file."""
        assert buffer.data is not None
        key = id(buffer.data), buffer.symbol_bits
        if key not in self._known:  # the entry keeps the array, so that no other takes its id
            self._known[key] = buffer.data, Entropy().compress(buffer.data, buffer.symbol_bits)
        return self._known[key][1]


def _store(buffers: Sequence[Buffer], constants: Pool, coder: Coder) -> list[_Place]:
    """Puts the constants' bytes into a pool: first the raw ones, aligned, then the others one after the other."""
    places = [_Place(buffer.offset) for buffer in buffers]
    for storage in STORAGES:
        for index, buffer in enumerate(buffers):
            if buffer.data is None or buffer.storage != storage:
                continue
            if storage == RAW:
                little = np.dtype(buffer.dtype).newbyteorder("<")
                data = np.ascontiguousarray(buffer.data, little).reshape(-1).view(np.uint8)
                places[index] = _Place(constants.add(data.data), data.size)
            else:
                coded = coder.code(buffer)
                places[index] = _Place(constants.add(coded, alignment=1), len(coded))
    return places


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

    def buffer(self, buffer: Buffer, place: _Place) -> None:
        dims = len(self.tables[_DIMS]) // 8
        self.tables[_DIMS] += struct.pack(f"<{len(buffer.shape)}Q", *buffer.shape)
        self.tables[_BUFFERS] += _BUFFER.pack(
            self.string(buffer.name), buffer.kind, DTYPES.index(buffer.dtype), STORAGES.index(buffer.storage),
            len(buffer.shape), dims, 0, place.offset, buffer.nbytes, place.nbytes,
            buffer.symbol_bits if buffer.storage == ENTROPY else 0, buffer.texel_buffer,
        )  # fmt: skip

    def launch(self, table: int, launch: Launch) -> None:
        self.tables[table] += _LAUNCH.pack(
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


def encode(plan: Plan, code: Pool, constants: Pool, coder: Coder | None = None) -> bytes:
    """The PLAN segment; kernel images go to ``code``, weights to ``constants``, entropy-coded where a buffer says so.

    Raises:
        ArtifactError: the plan breaks a rule that the runtime's loader enforces; all of them are listed.
    """
    check(plan)
    writer = _Writer()
    target, backend = writer.string(plan.target), writer.string(plan.backend)
    inputs, outputs = writer.indices(plan.inputs), writer.indices(plan.outputs)
    for buffer, place in zip(plan.buffers, _store(plan.buffers, constants, coder or Coder()), strict=True):
        writer.buffer(buffer, place)
    for launch in plan.launches:
        writer.launch(_LAUNCHES, launch)
    for module in plan.modules:
        writer.module(module, code)
    for launch in plan.prologue:
        writer.launch(_PROLOGUE, launch)
    offset = _HEADER.size + _TABLE.size * len(_STRIDES)
    heads, bodies = b"", b""
    for table, stride in zip(writer.tables, _STRIDES, strict=True):
        heads += _TABLE.pack(offset + len(bodies), len(table) // stride, stride, 0)
        bodies += bytes(table) + bytes(-len(table) % 8)
    head = _HEADER.pack(
        _HEADER.size, len(_STRIDES), plan.arena_bytes, plan.scratch_bytes, target, backend, *inputs, *outputs,
        plan.static_bytes, plan.temporary_bytes,
    )  # fmt: skip
    return head + heads + bodies


def decode(segment: memoryview, code: memoryview, constants: memoryview) -> Plan:
    """Reads what `encode` wrote. Raw constants are views into ``constants``, entropy-coded ones are expanded.

    Raises:
        ArtifactError: anything out of range.
    """
    with _parsing():
        plan = _Reader(segment).plan(code, constants)
    check(plan)
    return plan


@dataclass(frozen=True)
class Stored:
    """A named range of bytes of the CODE or CONSTANTS segment."""

    name: str
    offset: int
    nbytes: int


def stored(segment: memoryview) -> tuple[list[Stored], list[Stored]]:
    """The images in CODE, named "module kind architecture", and the constants in CONSTANTS, without reading them.

    Raises:
        ArtifactError: the tables are damaged.
    """
    with _parsing():
        return _Reader(segment).stored()


@contextmanager
def _parsing() -> Iterator[None]:
    try:
        yield
    except (struct.error, IndexError, ValueError, OverflowError, KeyError, MemoryError) as error:
        raise ArtifactError(f"damaged artifact: plan tables do not parse ({error})") from error


class _Reader:
    """The tables of a PLAN segment. Raises what `_parsing` catches."""

    def __init__(self, segment: memoryview) -> None:
        header_bytes, table_count = struct.unpack_from("<II", segment)
        if header_bytes < _HEADER_1_0 or table_count < _TABLES_1_0:
            raise ValueError("header too short")
        self.header = _HEADER.unpack(_filled(segment[:header_bytes], _HEADER.size))
        self.tables: list[list[memoryview]] = []
        for number, (stride_here, least) in enumerate(zip(_STRIDES, (*_STRIDES_1_0, _LAUNCH.size), strict=True)):
            if number >= table_count:
                self.tables.append([])
                continue
            offset, count, stride, _ = _TABLE.unpack_from(segment, header_bytes + number * _TABLE.size)
            if stride < least or offset + count * stride > len(segment):
                raise ValueError(f"table {number} out of range")
            body = segment[offset : offset + count * stride]
            self.tables.append(
                [body] if stride == 1 else [_filled(body[i * stride :][:stride], stride_here) for i in range(count)]
            )
        self.list_end = 0

    def text(self, index: int) -> str:
        blob = self.tables[_BLOB][0]
        offset, length = _STRING.unpack(self.tables[_STRINGS][index])
        if offset + length >= len(blob) or blob[offset + length] != 0:
            raise ValueError("string out of range")
        return str(blob[offset : offset + length], "utf-8")

    def part(self, table: int, first: int, count: int, limit: int = 1 << 32) -> list[memoryview]:
        if first + count > len(self.tables[table]) or count > limit:
            raise ValueError("range out of its table")
        return self.tables[table][first : first + count]

    def numbers(self, first: int, count: int) -> tuple[int, ...]:
        if first < self.list_end:  # lists that overlap could make a small file take forever
            raise ValueError("lists overlap")
        self.list_end = first + count
        return tuple(int.from_bytes(item, "little") for item in self.part(_INDICES, first, count))

    def buffer(self, item: memoryview, constants: memoryview) -> Buffer:
        name, kind, dtype, storage, rank, dims, _, offset, nbytes, file_bytes, symbol_bits, texel = _BUFFER.unpack(item)
        if storage >= len(STORAGES):
            raise ValueError(f"storage {storage} of buffer {self.text(name)} is not known")
        shape = tuple(int.from_bytes(dim, "little") for dim in self.part(_DIMS, dims, rank, MAX_RANK))
        buffer = Buffer(
            self.text(name), BufferKind(kind), DTYPES[dtype], shape,
            offset if BufferKind(kind) in PLACED else 0,
            storage=STORAGES[storage], symbol_bits=symbol_bits or 8, texel_buffer=bool(texel),
        )  # fmt: skip
        if buffer.nbytes != nbytes:
            raise ValueError(f"buffer {buffer.name} has {nbytes} bytes, its shape needs {buffer.nbytes}")
        if buffer.kind is not BufferKind.CONSTANT:
            return buffer
        if buffer.storage == RAW:
            data = np.frombuffer(_cut(constants, offset, nbytes), dtype=buffer.dtype)
        else:
            coded = bytes(_cut(constants, offset, file_bytes))
            data = Entropy().expand(coded, nbytes).view(buffer.dtype)
        return replace(buffer, data=data.reshape(shape))

    def launch(self, item: memoryview) -> Launch:
        kernel, module, first, count, *rest = _LAUNCH.unpack(item)
        args = self.numbers(first, count)
        layers = tuple(map(self.text, self.numbers(rest[6], rest[7])))
        grid, block = (rest[0], rest[1], rest[2]), (rest[3], rest[4], rest[5])
        return Launch(self.text(kernel), module, args, grid, block, layers)

    def image(self, item: memoryview, code: memoryview) -> Image:
        kind, arch, options, features, feature_count, _, offset, nbytes = _IMAGE.unpack(item)
        names = tuple(map(self.text, self.numbers(features, feature_count)))
        return Image(self.text(kind), self.text(arch), names, self.text(options), bytes(_cut(code, offset, nbytes)))

    def module(self, item: memoryview, code: memoryview) -> Module:
        name, first, count, _ = _MODULE.unpack(item)
        return Module(self.text(name), tuple(self.image(image, code) for image in self.part(_IMAGES, first, count)))

    def plan(self, code: memoryview, constants: memoryview) -> Plan:
        _, _, arena_bytes, scratch_bytes, target, backend, *ranges, static_bytes, temporary_bytes = self.header
        return Plan(  # lists are read in the order of the file
            target=self.text(target),
            backend=self.text(backend),
            buffers=tuple(self.buffer(item, constants) for item in self.tables[_BUFFERS]),
            inputs=self.numbers(ranges[0], ranges[1]),
            outputs=self.numbers(ranges[2], ranges[3]),
            launches=tuple(map(self.launch, self.tables[_LAUNCHES])),
            modules=tuple(self.module(item, code) for item in self.tables[_MODULES]),
            prologue=tuple(map(self.launch, self.tables[_PROLOGUE])),
            arena_bytes=arena_bytes,
            scratch_bytes=scratch_bytes,
            static_bytes=static_bytes,
            temporary_bytes=temporary_bytes,
        )

    def stored(self) -> tuple[list[Stored], list[Stored]]:
        images = []
        for item in self.tables[_MODULES]:
            module, first, count, _ = _MODULE.unpack(item)
            for image in self.part(_IMAGES, first, count):
                kind, arch, _, _, _, _, offset, nbytes = _IMAGE.unpack(image)
                name = f"{self.text(module)} {self.text(kind)} {self.text(arch)}".rstrip()
                images.append(Stored(name, offset, nbytes))
        constants = []
        for item in self.tables[_BUFFERS]:
            name, kind, _, storage, _, _, _, offset, nbytes, file_bytes, _, _ = _BUFFER.unpack(item)
            if kind == BufferKind.CONSTANT:
                constants.append(Stored(self.text(name), offset, nbytes if STORAGES[storage] == RAW else file_bytes))
        return images, constants


def _filled(item: memoryview, nbytes: int) -> memoryview:
    """The first ``nbytes`` of an entry or header; fields that an older version did not have are zero."""
    return item[:nbytes] if len(item) >= nbytes else memoryview(bytes(item) + bytes(nbytes - len(item)))


def _cut(data: memoryview, offset: int, nbytes: int) -> memoryview:
    if offset + nbytes > len(data):
        raise ValueError("data out of its segment")
    return data[offset : offset + nbytes]
