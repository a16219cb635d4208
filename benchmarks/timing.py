"""Contestants timed in turns in one process, and our artifacts called from C in a loop."""

from __future__ import annotations

import ctypes
import math
import shutil
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from tilewright.runtime import native

SECONDS = 0.02
"""A contestant's turn in a round lasts at least that long ..."""
LEAST_CALLS = 3
"""... and has at least that many calls, after one that is not timed and brings its data back into the caches."""

Loop = Callable[[int], Any]
"""Calls a contestant that many times."""


@dataclass(frozen=True)
class Times:
    """Seconds of one call of a contestant, one figure a round."""

    wall: tuple[float, ...]
    cpu: tuple[float, ...]  # of the whole process: all its threads

    @property
    def median_us(self) -> float:
        return statistics.median(self.wall) * 1e6

    def over(self, other: Times) -> tuple[float, float]:
        """Medians over the rounds of wall and CPU time by that of another contestant in the same round."""
        wall = statistics.median(a / b for a, b in zip(self.wall, other.wall, strict=True))
        return wall, statistics.median(a / b for a, b in zip(self.cpu, other.cpu, strict=True))


def repeated(run: Callable[[], Any]) -> Loop:
    """A Python callable as a contestant."""

    def loop(calls: int) -> None:
        for _ in range(calls):
            run()

    return loop


def interleave(contestants: Mapping[str, Loop], rounds: int, seconds: float = SECONDS) -> dict[str, Times]:
    """Times contestants in turns (A B A B ...), so that a slow spell of the machine hits all of them."""
    calls = {}
    for name, loop in contestants.items():
        loop(1)
        begin = time.perf_counter()
        loop(LEAST_CALLS)
        once = max(time.perf_counter() - begin, 1e-6) / LEAST_CALLS
        calls[name] = max(LEAST_CALLS, math.ceil(seconds / once))
    times: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in contestants}
    for _ in range(rounds):
        for name, loop in contestants.items():
            loop(1)
            cpu, wall = time.process_time(), time.perf_counter()
            loop(calls[name])
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
            times[name][0].append(wall / calls[name])
            times[name][1].append(cpu / calls[name])
    return {name: Times(tuple(wall), tuple(cpu)) for name, (wall, cpu) in times.items()}


class FromC:
    """An artifact of one input and one output, called in a loop of a C function, as an application calls it."""

    def __init__(self, artifact: Path, x: np.ndarray[Any, Any], size: int, threads: int = 1) -> None:
        """
        Args:
            artifact: its file.
            x: the input.
            size: float32 elements of the output.
            threads: of the runtime.
        """
        library, self._handle = native.library(), ctypes.c_void_p()
        options = native.Options(struct_bytes=ctypes.sizeof(native.Options), threads=threads)
        native.check(library.tw_load_file(str(artifact).encode(), ctypes.byref(options), ctypes.byref(self._handle)))
        self._library = library
        self._x = _aligned(x.nbytes, x.dtype).reshape(x.shape)
        self._x[...] = x
        self.y = _aligned(4 * size, np.dtype(np.float32))
        self._in = native.Buffer(self._x.ctypes.data, self._x.nbytes)
        self._out = native.Buffer(self.y.ctypes.data, self.y.nbytes)

    def __call__(self, calls: int) -> None:
        run = ctypes.cast(self._library.tw_run, ctypes.c_void_p)
        native.check(_loops().run_loop(run, self._handle, ctypes.byref(self._in), ctypes.byref(self._out), calls))

    def close(self) -> None:
        """Frees the session."""
        self._library.tw_free(self._handle)


def _aligned(nbytes: int, dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
    """Memory that the runtime uses in place (tilewright.h), as onnxruntime uses bound memory."""
    memory = np.empty(nbytes + 64, np.uint8)
    start = -memory.ctypes.data % 64
    return memory[start : start + nbytes].view(dtype)


def has_compiler() -> bool:
    """Whether ``FromC`` can be used."""
    return shutil.which("cc") is not None


class ReadOnly:
    """Memory that is only read, by one thread: the floor of a kernel whose weights take as much."""

    def __init__(self, nbytes: int) -> None:
        self.data = _aligned(nbytes // 8 * 8, np.dtype(np.uint64))
        self.data[...] = 1

    def __call__(self, calls: int) -> int:
        """The sum of what was read: 1 for each eight bytes and call."""
        return int(_loops().read_loop(self.data.ctypes.data, len(self.data), calls))


class Moving:
    """Memory that is read and other memory that is written, by one thread: the floor of a layer with such an input and
    output whose weights are few."""

    def __init__(self, read: int, written: int) -> None:
        """Both in bytes; what is written is rounded down to lines of 64."""
        self._source = ReadOnly(read)
        self.target = _aligned(written // 64 * 64, np.dtype(np.uint64))

    def __call__(self, calls: int) -> int:
        """The sum of what was read."""
        source, target = self._source.data, self.target
        return int(_loops().move_loop(source.ctypes.data, len(source), target.ctypes.data, len(target), calls))


@cache
def _loops() -> Any:
    """The functions of run_loop.c."""
    here = Path(__file__).parent
    with TemporaryDirectory() as folder:
        library = Path(folder) / "run_loop.so"
        include = here.parent / "runtime" / "include"
        flags = ["-O3", "-march=native", "-shared", "-fPIC"]
        subprocess.run(list(map(str, ["cc", *flags, "-I", include, here / "run_loop.c", "-o", library])), check=True)
        loops = ctypes.CDLL(str(library))
    loops.run_loop.argtypes = [ctypes.c_void_p] * 4 + [ctypes.c_int]
    loops.read_loop.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    loops.move_loop.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    loops.read_loop.restype = loops.move_loop.restype = ctypes.c_uint64
    return loops
