"""DeepSparse (Neural Magic's engine, last released in 2024), 90 % zeros in blocks of 4x4.

It spins while it waits, so that its figures are worthless on a machine with other work.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import onnx

from benchmarks.layers import Layer
from benchmarks.rivals.runtimes.base import DENSITY, Ready, Runtime, imported

BLOCK = 4, 4


def _ready(layer: Layer) -> Ready:
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
