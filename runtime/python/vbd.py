"""Streams of nna-vbd as text. runtime/NNA.md describes the format; runtime/src/vbd runs it."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from tilewright.errors import ArtifactError

MAGIC: Final = b"VBD1"
_HEADER_WORDS: Final = 4
_MAP_WORDS: Final = 6
_SIGNED: Final = 1
_PACKED: Final = 2
_REGIONS: Final = ("weights", "scratch")
_WINDOW: Final = ("kernel", "strides", "dilations", "pads", "pads")
_WEIGHTS: Final = ("weights", "bits", "biases", "bytes", "scales", "count")
_OUTPUT: Final = ("rounding", "low", "high")
_FIELDS: Final = {
    1: ("CONVOLUTION", ("source", "target", *_WINDOW, *_WEIGHTS, *_OUTPUT)),
    2: ("DEPTHWISE", ("source", "target", *_WINDOW, *_WEIGHTS, *_OUTPUT)),
    3: ("MAXIMUM", ("source", "target", *_WINDOW)),
    4: ("AVERAGE", ("source", "target", *_WINDOW)),
    5: ("ADD", ("first", "second", "target", "spare", *("factor", "shift") * 3, *_OUTPUT)),
    6: ("SUBTRACT", ("first", "second", "target", "spare", *("factor", "shift") * 3, *_OUTPUT)),
    7: ("MULTIPLY", ("first", "second", "target", "factor", "shift", *_OUTPUT)),
    8: ("TABLE", ("source", "target", "table")),
    9: ("CONCAT", ("target", "count")),
    10: ("RESIZE", ("source", "target", "down", "right")),
}
_MAPS: Final = ("source", "first", "second", "target")


@dataclass(frozen=True)
class Record:
    """One operation: its byte offset, name, and fields in order, by name."""

    offset: int
    name: str
    fields: tuple[tuple[str, int], ...]


def records(payload: bytes) -> Iterator[Record]:
    """The operations of a stream.

    Raises:
        ArtifactError: the stream is cut off, or has unknown operations.
    """
    words = _words(payload)
    at = _HEADER_WORDS + words[2] * _MAP_WORDS
    for _ in range(words[3]):
        if at >= len(words):
            raise ArtifactError("command stream: operations are missing")
        code, length = words[at] & 0xFFFF, words[at] >> 16
        name, names = _FIELDS.get(code, ("", ()))
        values = words[at + 1 : at + length]
        whole = len(values) == len(names) or (name == "CONCAT" and len(values) > len(names))
        if not name or not length or not whole:
            raise ArtifactError(f"command stream: word {at}: unknown operation 0x{words[at]:08x}")
        names = (*names, *("source",) * (len(values) - len(names)))
        yield Record(4 * at, name, tuple(zip(names, values, strict=True)))
        at += length


def disassemble(payload: bytes) -> list[str]:
    """The maps and the operations of a stream, a line each.

    Raises:
        ArtifactError: the stream is cut off, or has unknown operations.
    """
    words = _words(payload)
    lines = [_map(number, payload[4 * at : 4 * (at + _MAP_WORDS)]) for number, at in enumerate(
        range(_HEADER_WORDS, _HEADER_WORDS + words[2] * _MAP_WORDS, _MAP_WORDS))]  # fmt: skip
    return lines + [f"{record.offset:06x}  {record.name:12} {_text(record)}" for record in records(payload)]


def _words(payload: bytes) -> list[int]:
    words = list(struct.unpack(f"<{len(payload) // 4}I", payload[: len(payload) // 4 * 4]))
    if payload[:4] != MAGIC or len(words) < _HEADER_WORDS or words[1] != len(words):
        raise ArtifactError("command stream: no VBD1 stream, or one that is cut off")
    if _HEADER_WORDS + words[2] * _MAP_WORDS > len(words):
        raise ArtifactError("command stream: maps are missing")
    return words


def _map(number: int, record: bytes) -> str:
    kind, zero, height, width, channels, address = struct.unpack("<IiIIII", record)
    flags = kind >> 16
    region = kind & 0xFF
    place = _REGIONS[region] if region < len(_REGIONS) else f"region {region}"
    sign, layout = ("s" if flags & _SIGNED else "u"), ("packed" if flags & _PACKED else "padded")
    shape = f"{height} x {width} x {channels}"
    return f"map {number:<4} {sign}{kind >> 8 & 0xFF:<3} {shape:18} zero {zero:<6} {place} + {address}, {layout}"


def _text(record: Record) -> str:
    found = []
    for name, value in record.fields:
        if name in _MAPS:
            found.append(f"{name}=map{value}")
        elif name in _WINDOW:
            found.append(f"{name}={value & 0xFFFF},{value >> 16}")
        elif name in ("low", "high"):
            found.append(f"{name}={value - (value >> 31 << 32)}")
        else:
            found.append(f"{name}={value}")
    return " ".join(found)
