"""DeepSparse (Neural Magic's engine, last released in 2024), 90 % zeros in blocks of 4x4.

It spins while it waits, so that its figures are worthless on a machine with other work. DeepSparse 1.8 imports parts of
ONNX that left it with 1.16: beside the ONNX that Tilewright needs it is skipped.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import onnx

from benchmarks.layers import Layer
from benchmarks.rivals.runtimes.base import DENSITY, Ready, Runtime, imported

BLOCK = 4, 4


def _ready(layer: Layer) -> Ready:
    os.environ.setdefault("NM_DISABLE_ANALYTICS", "true")  # else it reports its use over the network
    deepsparse = imported("deepsparse", "deepsparse==1.8.0")
    matrix = layer.matrix(BLOCK, DENSITY)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sparse.onnx"
        onnx.save(layer.model(matrix), path)
        engine = deepsparse.Engine(model=str(path), batch_size=layer.x[0], num_cores=1)
    x = [layer.sample()]

    def run() -> Any:
        return engine.run(x)[0]

    return Ready(run, matrix, run)


RUNTIMES: dict[str, Runtime] = {"deepsparse": _ready}
