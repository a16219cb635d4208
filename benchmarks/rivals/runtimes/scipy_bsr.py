"""SciPy's BSR matrices, 90 % zeros in blocks of 4x4."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.layers import Layer
from benchmarks.rivals.base import RivalError
from benchmarks.rivals.runtimes.base import DENSITY, Ready, Runtime, imported

BLOCK = 4, 4


def _ready(layer: Layer) -> Ready:
    if len(layer.w) == 4:
        raise RivalError("scipy has no convolution")
    sparse = imported("scipy.sparse", "scipy")
    matrix = layer.matrix(BLOCK, DENSITY)
    weights = sparse.bsr_array(matrix, blocksize=BLOCK)
    bias, x = layer.bias()[:, None], np.ascontiguousarray(layer.sample().T)

    def run() -> Any:
        return (weights @ x + bias).T

    return Ready(run, matrix, run)


RUNTIMES: dict[str, Runtime] = {"scipy-bsr": _ready}
