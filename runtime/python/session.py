"""Loading and running artifacts."""

from __future__ import annotations

import ctypes
import json
import math
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike, fsencode
from types import TracebackType
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tilewright.errors import ArtifactError, DataError, UsageError
from tilewright.runtime import native

ALIGNMENT: Final = 64  # the runtime uses tensors at such addresses in place


@dataclass(frozen=True)
class TensorInfo:
    """An input or output of a model."""

    name: str
    dtype: str  # NumPy name
    shape: tuple[int, ...]


@dataclass(frozen=True)
class KernelTime:
    """What one kernel launch took; times in nanoseconds, on the device where it has a clock."""

    kernel: str
    layers: str  # the model's layers computed here, separated by ", "
    runs: int
    total_ns: int
    last_ns: int


@dataclass(frozen=True)
class Stats:
    """Sizes in bytes, and counters."""

    threads: int
    arena_bytes: int  # activations
    constant_bytes: int  # weights
    owned_bytes: int  # all tensor memory that the session allocated
    runs: int
    programs_compiled: int  # OpenCL programs compiled from source at load
    programs_cached: int  # OpenCL programs taken from the binary cache
    static_bytes: int  # weights that were computed at load


class Session:
    """An artifact loaded on a device. Safe to use from several threads; runs of one session do not overlap."""

    def __init__(
        self,
        source: str | PathLike[str] | bytes,
        device: str | int | None = None,
        threads: int = 1,
        *,
        profile: bool = False,
        allow_nan: bool = False,
        cache_dir: str | PathLike[str] | None = None,
        memory_limit: int = 0,
        trusted: bool = False,
    ) -> None:
        """Loads an artifact.

        Args:
            source: path of the file (mapped, not read), or its bytes.
            device: index into `devices`, or part of the name of a device, of the artifact's back end.
            threads: on the cpu, threads of one run; 0 is one per usable core.
            profile: start with per-kernel timing on.
            allow_nan: pass NaN in float inputs on to the model instead of raising DataError.
            cache_dir: folder of compiled OpenCL programs; None is the user's cache folder, "" is no cache.
            memory_limit: bytes that the session may allocate; 0 is the machine's memory.
            trusted: skip checksums.

        Raises:
            ArtifactError: damaged, hostile, or of another format version.
            DeviceError: no such device, no driver, a CPU feature is missing, or not enough memory.
            UsageError: the file cannot be read, or an argument is out of range.
        """
        self._handle = ctypes.c_void_p()  # first, for __del__
        self._native = native.library()
        self._lock = threading.Lock()
        self._source = source if isinstance(source, bytes) else None  # the runtime uses the bytes in place
        self._allow_nan = allow_nan
        options = native.Options(
            struct_bytes=ctypes.sizeof(native.Options),
            flags=native.TRUSTED * trusted | native.PROFILE * profile | native.REJECT_NAN * (not allow_nan),
            threads=threads,
            device=None if device is None else str(device).encode(),
            cache_dir=None if cache_dir is None else fsencode(cache_dir),
            memory_limit=memory_limit,
        )
        pointers = ctypes.byref(options), ctypes.byref(self._handle)
        if isinstance(source, bytes):
            native.check(self._native.tw_load(source, len(source), *pointers))
        else:
            native.check(self._native.tw_load_file(fsencode(source), *pointers))
        self.inputs = tuple(
            self._tensor(self._native.tw_input, i) for i in range(self._native.tw_input_count(self._handle))
        )
        self.outputs = tuple(
            self._tensor(self._native.tw_output, i) for i in range(self._native.tw_output_count(self._handle))
        )
        self._input_specs = [(info.name, np.dtype(info.dtype), info.shape) for info in self.inputs]
        self._output_specs = [(info.name, np.dtype(info.dtype), info.shape) for info in self.outputs]
        self._input_buffers, self._output_buffers = _buffers(self._input_specs), _buffers(self._output_specs)

    def run(self, feeds: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[np.generic]]:
        """Runs the model once.

        Args:
            feeds: every input by name, with exactly the model's dtype and shape.

        Returns:
            Every output by name, in new arrays.

        Raises:
            DataError: names, dtypes or shapes that do not fit, or NaN; lists all.
            DeviceError: the driver or a kernel failed.
        """
        arrays = self._arrays(feeds)
        results = {}
        ins, outs = self._input_buffers, self._output_buffers
        with self._lock:
            for index, array in enumerate(arrays):
                ins[2 * index] = _address(array)
            for index, (name, dtype, shape) in enumerate(self._output_specs):
                memory = np.empty(outs[2 * index + 1] + ALIGNMENT, np.uint8)
                start = _address(memory)
                offset = -start % ALIGNMENT
                outs[2 * index] = start + offset
                results[name] = np.ndarray(shape, dtype, memory, offset)
            status = self._native.tw_run(self._open(), ins, len(arrays), outs, len(results))
        if status == native.USAGE:  # all but NaN has been checked here
            raise DataError(_explain(self._input_specs, feeds, self._allow_nan))
        native.check(status)
        return results

    def selftest(self) -> tuple[float, float]:
        """Runs the artifact's bundled self-test.

        Returns:
            The greatest relative L2 error of an output, and the tolerance that it kept.

        Raises:
            UsageError: the artifact has no self-test.
            DeviceError: the error is over the tolerance.
        """
        error, tolerance = ctypes.c_double(), ctypes.c_double()
        with self._lock:
            native.check(self._native.tw_selftest(self._open(), ctypes.byref(error), ctypes.byref(tolerance)))
        return error.value, tolerance.value

    def enable_profile(self, on: bool = True) -> None:
        """Switches per-kernel timing and clears what it gathered."""
        with self._lock:
            native.check(self._native.tw_profile_enable(self._open(), on))

    def profile(self) -> list[KernelTime]:
        """Times per kernel launch, in the order of execution, since profiling was switched on."""
        entry = native.ProfileEntry()
        times = []
        with self._lock:
            for index in range(self._native.tw_profile_count(self._open())):
                native.check(self._native.tw_profile(self._handle, index, ctypes.byref(entry)))
                kernel, layers = native.text(entry.kernel), native.text(entry.layers)
                times.append(KernelTime(kernel, layers, entry.runs, entry.total_ns, entry.last_ns))
        return times

    def trace(self, path: str | PathLike[str]) -> None:
        """Writes the last profiled run as Chrome trace JSON, for chrome://tracing or Perfetto.

        Raises:
            UsageError: nothing was profiled, or the file cannot be written.
        """
        with self._lock:
            native.check(self._native.tw_trace_write(self._open(), fsencode(path)))

    def stats(self) -> Stats:
        """Memory sizes and counters."""
        raw = native.Stats(struct_bytes=ctypes.sizeof(native.Stats))
        with self._lock:
            native.check(self._native.tw_session_stats(self._open(), ctypes.byref(raw)))
        return Stats(**{name: getattr(raw, name) for name in Stats.__dataclass_fields__})

    @property
    def target(self) -> str:
        """The target that the artifact was compiled for."""
        return native.text(self._native.tw_session_target(self._open()))

    @property
    def device(self) -> str:
        """What the session runs on."""
        return native.text(self._native.tw_session_device(self._open()))

    @property
    def metadata(self) -> Any:
        """The artifact's metadata: recipe, tool versions, device facts, report."""
        size = ctypes.c_size_t()
        address = self._native.tw_metadata(self._open(), ctypes.byref(size))
        try:
            return json.loads(ctypes.string_at(address, size.value))
        except (ValueError, RecursionError) as error:
            raise ArtifactError(f"damaged artifact: metadata is not JSON ({error})") from error

    def close(self) -> None:
        """Frees the session; it cannot be used afterwards."""
        with self._lock:
            handle, self._handle = self._handle, ctypes.c_void_p()
        self._native.tw_free(handle)

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if self._handle:
            self.close()

    def _open(self) -> ctypes.c_void_p:
        if not self._handle:
            raise UsageError("the session is closed")
        return self._handle

    def _tensor(self, query: Any, index: int) -> TensorInfo:
        raw = native.Tensor()
        native.check(query(self._handle, index, ctypes.byref(raw)))
        return TensorInfo(native.text(raw.name), native.DTYPES[raw.dtype], tuple(raw.shape[: raw.rank]))

    def _arrays(self, feeds: Mapping[str, npt.NDArray[Any]]) -> list[npt.NDArray[np.generic]]:
        """The inputs in the model's order, contiguous."""
        arrays = []
        for name, dtype, shape in self._input_specs:
            array = feeds.get(name)
            if not isinstance(array, np.ndarray) or array.dtype != dtype or array.shape != shape:
                raise DataError(_explain(self._input_specs, feeds, self._allow_nan))
            arrays.append(array if array.flags.c_contiguous else np.ascontiguousarray(array))
        if len(feeds) != len(arrays):
            raise DataError(_explain(self._input_specs, feeds, self._allow_nan))
        return arrays


def _buffers(specs: Sequence[tuple[str, np.dtype[Any], tuple[int, ...]]]) -> ctypes.Array[ctypes.c_uint64]:
    """An array of tw_buffer as plain numbers, address and size in turns: ctypes sets those in a tenth of the time."""
    words = (ctypes.c_uint64 * (2 * len(specs)))()
    words[1::2] = [math.prod(shape) * dtype.itemsize for _, dtype, shape in specs]
    return words


def _address(array: npt.NDArray[Any]) -> int:
    if array.flags.writeable and array.size:  # from_buffer takes no other; NumPy's own ways cost ten times this
        return ctypes.addressof(ctypes.c_char.from_buffer(array.data))
    return int(array.__array_interface__["data"][0])


def _explain(
    specs: list[tuple[str, np.dtype[Any], tuple[int, ...]]],
    feeds: Mapping[str, object],
    allow_nan: bool,
) -> str:
    """Everything that is wrong with the inputs, one line each."""
    lines = []
    for name, dtype, shape in specs:
        wanted = f"{dtype} {list(shape)}"
        array = feeds.get(name)
        if array is None:
            lines.append(f"{name}: missing (the model takes {wanted})")
        elif not isinstance(array, np.ndarray):
            lines.append(f"{name}: a {type(array).__name__}, not a NumPy array (the model takes {wanted})")
        elif array.dtype != dtype or array.shape != shape:
            lines.append(f"{name}: {array.dtype} {list(array.shape)}, the model takes {wanted}")
        elif dtype.kind == "f" and not allow_nan and np.isnan(array).any():
            lines.append(f"{name}: {np.isnan(array).sum()} NaN (Session(..., allow_nan=True) passes them on)")
    known = [name for name, _, _ in specs]
    lines += [f"{name}: no such input (there are: {', '.join(known)})" for name in feeds if name not in known]
    return "\n".join(["inputs do not fit the model:", *(f"  - {line}" for line in lines)])
