"""What a kernel cannot be faster than on this machine: its bytes at the speed of copying, its operations at fp32's.

Both speeds are measured here, with NumPy on one core. A kernel may beat this floor where its data stay in the caches,
or where it computes with integers, which a core does faster.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

_COPIED = 64 << 20  # bytes; beyond most caches
_SIDE, _PRODUCTS = 64, 200  # small matrices, which no library spreads over threads
_REPEATS = 9


@dataclass(frozen=True)
class Machine:
    """Speeds of one core.

    Attributes:
        bytes_per_s: read and written while copying memory.
        operations_per_s: fp32 multiplications and additions of a matrix product.
    """

    bytes_per_s: float
    operations_per_s: float

    def floor_us(self, nbytes: int, operations: int) -> float:
        """Microseconds that so many bytes and operations take at least."""
        return max(nbytes / self.bytes_per_s, operations / self.operations_per_s) * 1e6


def measure() -> Machine:
    """Takes a third of a second; the best of several attempts, in CPU time, which other work hardly touches."""
    source = np.ones(_COPIED, np.uint8)
    target = np.empty_like(source)
    a = np.ones((_SIDE, _SIDE), np.float32)
    b = np.empty_like(a)

    def products() -> None:
        for _ in range(_PRODUCTS):
            np.matmul(a, a, out=b)

    copying = _best(lambda: np.copyto(target, source))
    return Machine(2 * _COPIED / copying, 2 * _SIDE**3 * _PRODUCTS / _best(products))


def _best(run: Callable[[], object]) -> float:
    times = []
    for _ in range(_REPEATS):
        begin = time.process_time()
        run()
        times.append(time.process_time() - begin)
    return min(times)
