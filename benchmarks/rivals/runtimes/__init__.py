"""Other programs that run single layers, by the name that ``--rival`` takes."""

from __future__ import annotations

from benchmarks.rivals.runtimes import deepsparse, litert, onnxruntime, openvino, scipy_bsr, torch_bsr
from benchmarks.rivals.runtimes.base import Runtime

RUNTIMES: dict[str, Runtime] = {
    **onnxruntime.RUNTIMES,
    **openvino.RUNTIMES,
    **litert.RUNTIMES,
    **deepsparse.RUNTIMES,
    **torch_bsr.RUNTIMES,
    **scipy_bsr.RUNTIMES,
}
