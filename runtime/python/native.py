"""The C interface of the runtime (tilewright.h) through ctypes, and its errors as exceptions."""

from __future__ import annotations

import ctypes
import functools
import importlib.machinery
import os
from pathlib import Path
from typing import Any, ClassVar, Final

from tilewright.errors import ArtifactError, DeviceError, TilewrightError, ToolError, UsageError

API_VERSION: Final = 1

TRUSTED: Final = 1
PROFILE: Final = 2
REJECT_NAN: Final = 4

USAGE: Final = 1
"""The tw_status of a wrong argument."""

DTYPES: Final = (
    "bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64",
    "float16", "float32", "float64",
)  # fmt: skip
"""NumPy names by tw_dtype."""

_ERRORS: Final[dict[int, type[TilewrightError]]] = {
    1: UsageError,
    2: ArtifactError,
    3: DeviceError,
    4: DeviceError,
    5: DeviceError,
    6: UsageError,
}
"""By tw_status."""


class Options(ctypes.Structure):
    """tw_options."""

    _fields_: ClassVar = [
        ("struct_bytes", ctypes.c_uint32),
        ("flags", ctypes.c_uint32),
        ("threads", ctypes.c_int32),
        ("device", ctypes.c_char_p),
        ("cache_dir", ctypes.c_char_p),
        ("memory_limit", ctypes.c_uint64),
    ]


class Tensor(ctypes.Structure):
    """tw_tensor."""

    _fields_: ClassVar = [
        ("name", ctypes.c_char_p),
        ("shape", ctypes.POINTER(ctypes.c_uint64)),
        ("rank", ctypes.c_uint32),
        ("dtype", ctypes.c_uint32),
        ("nbytes", ctypes.c_uint64),
    ]


class Buffer(ctypes.Structure):
    """tw_buffer."""

    _fields_: ClassVar = [("data", ctypes.c_void_p), ("nbytes", ctypes.c_uint64)]


class ProfileEntry(ctypes.Structure):
    """tw_profile_entry."""

    _fields_: ClassVar = [
        ("kernel", ctypes.c_char_p),
        ("layers", ctypes.c_char_p),
        ("runs", ctypes.c_uint64),
        ("total_ns", ctypes.c_uint64),
        ("last_start_ns", ctypes.c_uint64),
        ("last_ns", ctypes.c_uint64),
    ]


class Stats(ctypes.Structure):
    """tw_stats."""

    _fields_: ClassVar = [
        ("struct_bytes", ctypes.c_uint32),
        ("threads", ctypes.c_uint32),
        ("arena_bytes", ctypes.c_uint64),
        ("constant_bytes", ctypes.c_uint64),
        ("owned_bytes", ctypes.c_uint64),
        ("runs", ctypes.c_uint64),
        ("programs_compiled", ctypes.c_uint32),
        ("programs_cached", ctypes.c_uint32),
        ("static_bytes", ctypes.c_uint64),
    ]


class DeviceInfo(ctypes.Structure):
    """tw_device_info."""

    _fields_: ClassVar = [
        ("backend", ctypes.c_char * 16),
        ("name", ctypes.c_char * 256),
        ("driver", ctypes.c_char * 256),
    ]


_P = ctypes.POINTER
_SESSION = ctypes.c_void_p
_SIGNATURES: Final[dict[str, tuple[Any, list[Any]]]] = {
    "tw_api_version": (ctypes.c_uint32, []),
    "tw_last_error": (ctypes.c_char_p, []),
    "tw_load": (ctypes.c_int, [ctypes.c_void_p, ctypes.c_size_t, _P(Options), _P(_SESSION)]),
    "tw_load_file": (ctypes.c_int, [ctypes.c_char_p, _P(Options), _P(_SESSION)]),
    "tw_free": (None, [_SESSION]),
    "tw_input_count": (ctypes.c_size_t, [_SESSION]),
    "tw_output_count": (ctypes.c_size_t, [_SESSION]),
    "tw_input": (ctypes.c_int, [_SESSION, ctypes.c_size_t, _P(Tensor)]),
    "tw_output": (ctypes.c_int, [_SESSION, ctypes.c_size_t, _P(Tensor)]),
    "tw_metadata": (ctypes.c_void_p, [_SESSION, _P(ctypes.c_size_t)]),
    # Buffers as void*: ctypes then takes the array objects as they are, without a conversion at each run.
    "tw_run": (ctypes.c_int, [_SESSION, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p, ctypes.c_size_t]),
    "tw_selftest": (ctypes.c_int, [_SESSION, _P(ctypes.c_double), _P(ctypes.c_double)]),
    "tw_profile_enable": (ctypes.c_int, [_SESSION, ctypes.c_int]),
    "tw_profile_count": (ctypes.c_size_t, [_SESSION]),
    "tw_profile": (ctypes.c_int, [_SESSION, ctypes.c_size_t, _P(ProfileEntry)]),
    "tw_trace_write": (ctypes.c_int, [_SESSION, ctypes.c_char_p]),
    "tw_session_stats": (ctypes.c_int, [_SESSION, _P(Stats)]),
    "tw_session_target": (ctypes.c_char_p, [_SESSION]),
    "tw_session_device": (ctypes.c_char_p, [_SESSION]),
    "tw_device": (ctypes.c_int, [ctypes.c_size_t, _P(DeviceInfo)]),
}


def library_path() -> Path:
    """The runtime's shared library: ``$TILEWRIGHT_RUNTIME``, or the one built with this package.

    Raises:
        ToolError: there is none.
    """
    return built_library("_native", "TILEWRIGHT_RUNTIME", "the C++ runtime")


def built_library(name: str, variable: str, what: str) -> Path:
    """A shared library of this package: what an environment variable says, or the one built beside this file.

    Raises:
        ToolError: there is none.
    """
    if given := os.environ.get(variable):
        return Path(given)
    folder = Path(__file__).parent
    for suffix in importlib.machinery.EXTENSION_SUFFIXES:
        if (path := folder / f"{name}{suffix}").exists():
            return path
    raise ToolError(
        f"{what} is not built: no {name} library in {folder} (reinstall the package, or run "
        "`python setup.py build_ext --inplace`; it needs a C++17 compiler, on Debian `apt install g++`)"
    )


@functools.cache
def library() -> Any:
    """The loaded library with its signatures set."""
    path = library_path()
    try:
        native = ctypes.CDLL(str(path))
    except OSError as error:
        raise ToolError(f"{path}: cannot load the runtime: {error}") from error
    for name, (result, arguments) in _SIGNATURES.items():
        function = getattr(native, name)
        function.restype, function.argtypes = result, arguments
    if (found := native.tw_api_version()) // 1000 != API_VERSION // 1000 or found < API_VERSION:
        raise ToolError(f"{path}: runtime with API version {found}, this package needs {API_VERSION}")
    return native


def check(status: int) -> None:
    """Raises the exception that a tw_status stands for."""
    if status:
        raise _ERRORS.get(status, TilewrightError)(text(library().tw_last_error()))


def text(value: bytes | None) -> str:
    """A C string; the runtime's are UTF-8, but an error message may be cut within a character."""
    return (value or b"").decode("utf-8", "replace")
