"""One run of NNCF: python -m benchmarks.rivals.nncf_worker int8|weights-int8|weights-int4 IN.onnx DATA.npz OUT.onnx"""

from __future__ import annotations

import math
import sys
from typing import Any

import numpy as np
import onnx


def main(mode: str, source: str, data: str, target: str) -> None:
    """Writes the compressed model; NNCF's own defaults, save for what the mode's name says."""
    import nncf

    model = onnx.load(source)
    with np.load(data) as arrays:
        stacked = dict(arrays)
    count = len(next(iter(stacked.values())))
    dataset = nncf.Dataset([{name: array[i : i + 1] for name, array in stacked.items()} for i in range(count)])
    transformer = any(node.op_type == "LayerNormalization" for node in model.graph.node)
    quantized: Any
    if mode == "int8":
        kind = nncf.ModelType.TRANSFORMER if transformer else None
        quantized = nncf.quantize(model, dataset, subset_size=count, model_type=kind)
    elif mode == "weights-int8":
        quantized = nncf.compress_weights(model, mode=nncf.CompressWeightsMode.INT8_ASYM)
    else:
        # columns that 32 does not divide get groups that do
        fallback = nncf.AdvancedCompressionParameters(group_size_fallback_mode=nncf.GroupSizeFallbackMode.ADJUST)
        quantized = nncf.compress_weights(
            model,
            mode=nncf.CompressWeightsMode.INT4_ASYM,
            ratio=1.0,
            group_size=32,
            all_layers=True,
            advanced_parameters=fallback,
        )
    repair(quantized)
    onnx.save(quantized, target)


def repair(model: onnx.ModelProto) -> None:
    """Makes what NNCF 3.4 writes legal, else onnxruntime refuses it.

    A convolution's scales and zero points per channel are [n, 1, 1, 1] instead of [n]; the blocks of a Gemm with a
    transposed weight name the wrong axis; a quantizer's output_dtype may contradict the type of its zero point.
    """
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "QuantizeLinear" and len(node.input) > 2:
            named = [index for index, entry in enumerate(node.attribute) if entry.name == "output_dtype"]
            for index in named:
                del node.attribute[index]  # the zero point says it already
        if node.op_type != "DequantizeLinear" or not all(name in tensors for name in node.input):
            continue
        weight, scale = (list(tensors[name].dims) for name in node.input[:2])
        settings = {attribute.name: attribute for attribute in node.attribute}
        if "block_size" in settings:
            settings["axis"].i = next(axis for axis, (a, b) in enumerate(zip(weight, scale, strict=True)) if a != b)
        elif len(scale) > 1:
            for name in node.input[1:]:
                del tensors[name].dims[:]
                tensors[name].dims.append(math.prod(scale))


if __name__ == "__main__":
    main(*sys.argv[1:])
