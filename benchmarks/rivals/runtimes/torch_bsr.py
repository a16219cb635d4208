"""PyTorch's BSR matrices (MKL), 90 % zeros in blocks of 4x4."""

from __future__ import annotations

import warnings
from typing import Any

from benchmarks.layers import Layer
from benchmarks.rivals.base import RivalError
from benchmarks.rivals.runtimes.base import DENSITY, Ready, Runtime, imported

BLOCK = 4, 4


def _ready(layer: Layer) -> Ready:
    if len(layer.w) == 4:
        raise RivalError("torch has no convolution by sparse weights")
    torch = imported("torch", "torch")
    torch.set_num_threads(1)
    matrix = layer.matrix(BLOCK, DENSITY)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse BSR tensor support is in beta")
        weights = torch.from_numpy(matrix).to_sparse_bsr(BLOCK)
    bias = torch.from_numpy(layer.bias())[:, None]
    x = torch.from_numpy(layer.sample()).T.contiguous()

    def run() -> Any:
        with torch.inference_mode():
            return torch.addmm(bias.expand(-1, x.shape[1]), weights, x).T

    return Ready(run, matrix, run)


RUNTIMES: dict[str, Runtime] = {"torch-bsr": _ready}
