"""The Ethos-U interpreter, runtime/src/nna, through ctypes: runs command streams on a functional model of the device.

A simulation: results are those of the device, times are not.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from tilewright.errors import ArtifactError
from tilewright.runtime import native

REGIONS: Final = 8
_ERROR_BYTES: Final = 1024
_MAGIC: Final = int.from_bytes(b"COP1", "little")
_CONFIG, _STREAM = 1, 2  # driver actions


@dataclass(frozen=True)
class Region:
    """What one of the device's base pointers points at.

    Attributes:
        data: the memory, contiguous, shape (bytes,), dtype uint8.
        writable: whether a stream may write it.
    """

    data: NDArray[np.uint8]
    writable: bool = True


class _Region(ctypes.Structure):
    """tw_nna_region."""

    _fields_: ClassVar = [
        ("data", ctypes.c_void_p),
        ("nbytes", ctypes.c_uint64),
        ("writable", ctypes.c_uint32),
        ("reserved", ctypes.c_uint32),
    ]


def library_path() -> Path:
    """The interpreter's shared library: ``$TILEWRIGHT_NNA``, or the one built with this package.

    Raises:
        ToolError: there is none.
    """
    return native.built_library("_nna", "TILEWRIGHT_NNA", "the NNA interpreter")


@functools.cache
def _library() -> Any:
    library = ctypes.CDLL(str(library_path()))
    text: list[Any] = [ctypes.c_char_p, ctypes.c_size_t]
    buffer: list[Any] = [ctypes.c_void_p, ctypes.c_size_t]
    library.tw_nna_run.argtypes = [*buffer, ctypes.POINTER(_Region), ctypes.c_size_t, ctypes.c_uint64, *text]
    library.tw_nna_decode_weights.argtypes = [*buffer, *buffer, *text]
    library.tw_nna_name.argtypes = [ctypes.c_uint32, ctypes.POINTER(ctypes.c_uint32)]
    library.tw_nna_name.restype = ctypes.c_char_p
    return library


def run(payload: bytes, regions: Mapping[int, Region], limit: int = 0) -> None:
    """Runs a driver payload; outputs are in the regions afterwards.

    Args:
        payload: what an Ethos-U driver is handed: it starts with ``COP1`` and names the accelerator.
        regions: memory by the number of its base pointer, 0 to 7.
        limit: bound on the work: elements read and written plus multiplications. 0: 2^44.

    Raises:
        ArtifactError: the stream is malformed, reaches outside its regions or exceeds the limit. Regions may have been
            written to until there.
    """
    table = (_Region * REGIONS)()
    for number, region in regions.items():
        if region.data.dtype != np.uint8 or not region.data.flags.c_contiguous:
            raise ValueError(f"region {number} is not contiguous uint8")
        if region.writable and not region.data.flags.writeable:
            raise ValueError(f"region {number} is writable, its array is not")
        table[number] = _Region(region.data.ctypes.data, region.data.nbytes, region.writable, 0)
    error = ctypes.create_string_buffer(_ERROR_BYTES)
    if _library().tw_nna_run(payload, len(payload), table, REGIONS, limit, error, len(error)):
        raise ArtifactError(error.value.decode("utf-8", "replace"))


def decode_weights(stream: bytes, count: int) -> NDArray[np.int16]:
    """The weights of an Ethos-U weight stream, in stream order.

    Args:
        stream: coded weights.
        count: how many there must be.

    Returns:
        shape (count,).

    Raises:
        ArtifactError: the stream is malformed or has not ``count`` weights.
    """
    weights = np.empty(count, np.int16)
    error = ctypes.create_string_buffer(_ERROR_BYTES)
    if _library().tw_nna_decode_weights(stream, len(stream), weights.ctypes.data, count, error, len(error)):
        raise ArtifactError(error.value.decode("utf-8", "replace"))
    return weights


def disassemble(payload: bytes) -> list[str]:
    """The commands of a driver payload, a line each: offset in the stream, name, parameter and second word.

    Raises:
        ArtifactError: it is no payload, or has unknown commands.
    """
    words = np.frombuffer(payload[: len(payload) // 4 * 4], "<u4").tolist()
    start = _stream_start(words)
    lines, at, length = [], start, ctypes.c_uint32()
    while at < len(words):
        name = _library().tw_nna_name(words[at], ctypes.byref(length))
        if name is None or at + length.value > len(words):
            raise ArtifactError(f"command stream: word {at - start}: unknown command 0x{words[at]:08x}")
        parameter = words[at] >> 16
        if length.value == 2:  # addresses have 48 bits; scales have their shift in the upper 16
            value = f"{parameter} : {words[at + 1]}" if b"SCALE" in name else str(parameter << 32 | words[at + 1])
        else:
            value = str(parameter)
        lines.append(f"{4 * (at - start):06x}  {name.decode():24} {value}")
        at += length.value
    return lines


def _stream_start(words: list[int]) -> int:
    """Where the stream of a driver payload starts, in words: past the driver's actions."""
    at = 1
    while at < len(words) and words[:1] == [_MAGIC]:
        action = words[at] & 0xFF
        if action == _STREAM:
            return at + 1
        at += 3 if action == _CONFIG else 1
    raise ArtifactError("command stream: a payload without one")
