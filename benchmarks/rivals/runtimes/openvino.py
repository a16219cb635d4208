"""OpenVINO: fp32, int8 by NNCF's post-training quantization, int4 weights in groups of 128 by NNCF."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from benchmarks.layers import Layer
from benchmarks.rivals.base import RivalError
from benchmarks.rivals.runtimes.base import Ready, Runtime, imported

OPENVINO, NNCF = "openvino", "nncf"


def _nncf() -> Any:
    os.environ.setdefault("CI", "true")  # else it reports its use over the network
    return imported(NNCF, NNCF)


def _int8(model: Any, layer: Layer) -> Any:
    nncf = _nncf()
    samples = [{"x": sample} for sample in layer.samples()["x"]]
    return nncf.quantize(model, nncf.Dataset(samples), subset_size=len(samples))


def _int4(model: Any, layer: Layer) -> Any:
    if len(layer.w) == 4:
        raise RivalError("weights of 4 bits are for products")
    nncf = _nncf()
    mode = nncf.CompressWeightsMode.INT4_SYM
    return nncf.compress_weights(model, mode=mode, group_size=128, ratio=1.0, all_layers=True)


def _runtime(change: Callable[[Any, Layer], Any]) -> Runtime:
    def ready(layer: Layer) -> Ready:
        openvino = imported(OPENVINO, OPENVINO)
        matrix = layer.matrix()
        core = openvino.Core()
        model = change(core.read_model(layer.model(matrix).SerializeToString()), layer)
        settings = {
            "INFERENCE_NUM_THREADS": 1,
            "NUM_STREAMS": 1,
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": "f32",
        }
        request = core.compile_model(model, "CPU", settings).create_infer_request()
        request.set_input_tensor(openvino.Tensor(layer.sample()))

        def run() -> Any:
            request.infer()
            return request.get_output_tensor().data

        return Ready(run, matrix, run)

    return ready


RUNTIMES: dict[str, Runtime] = {
    "openvino": _runtime(lambda model, layer: model),
    "openvino-int8": _runtime(_int8),
    "openvino-int4": _runtime(_int4),
}
