"""Folds inference BatchNormalization into the Conv, ConvTranspose or Gemm that feeds it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from tilewright.passes.add_constant import add_constant

Array = npt.NDArray[np.generic]


class FoldBatchNorm(ir.passes.InPlacePass):
    """y = (W x + b - mean) * s + beta with s = scale / sqrt(var + epsilon) is (s W) x + ((b - mean) s + beta).

    Applies where the producer's output has no other use and all its weights are constant. Computed in float64.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        modified = False
        for node in model.graph:
            if node.domain == "" and node.op_type == "BatchNormalization":
                modified |= _try_fold(model.graph, node)
        return ir.passes.PassResult(model, modified)


def _try_fold(graph: ir.Graph, norm: ir.Node) -> bool:
    source = norm.inputs[0]
    producer = source.producer() if source is not None else None
    if producer is None or source is None or len(source.uses()) != 1 or source.is_graph_output():
        return False
    if norm.attributes.get_int("training_mode", 0) or any(value.uses() for value in norm.outputs[1:]):
        return False
    parameters = [_array(value) for value in norm.inputs[1:5]]
    weight = _array(producer.inputs[1]) if len(producer.inputs) > 1 else None
    bias_value = producer.inputs[2] if len(producer.inputs) > 2 else None
    bias = _array(bias_value)
    if weight is None or (bias_value is not None and bias is None) or any(p is None for p in parameters):
        return False
    scale, beta, mean, variance = (np.asarray(p, np.float64) for p in parameters)
    factor = scale / np.sqrt(variance + norm.attributes.get_float("epsilon", 1e-5))
    scaled = _scale_outputs(producer, weight, factor)
    if scaled is None or (bias is not None and bias.shape != factor.shape):
        return False
    shift = ((0.0 if bias is None else bias.astype(np.float64)) - mean) * factor + beta
    result = norm.outputs[0]
    for index, array, suffix in ((1, scaled, "weight"), (2, shift, "bias")):
        if len(producer.inputs) <= index:
            producer.resize_inputs(index + 1)
        folded = add_constant(graph, f"{producer.name}_folded_{suffix}", array.astype(weight.dtype))
        producer.replace_input_with(index, folded)
    old = producer.outputs[0]
    name, shape, kind = result.name, result.shape, result.type
    ir.convenience.replace_all_uses_with(result, old, replace_graph_outputs=True)
    graph.remove(norm, safe=True)
    result.name, old.name, old.shape, old.type = None, name, shape, kind
    return True


def _scale_outputs(producer: ir.Node, weight: Array, factor: npt.NDArray[np.float64]) -> Array | None:
    """The weight with each output channel multiplied by its factor, or None where this is no linear layer."""
    wide = weight.astype(np.float64)
    if producer.domain != "":
        return None
    if producer.op_type == "Conv" and weight.shape[0] == factor.size:
        return wide * factor.reshape(-1, *[1] * (weight.ndim - 1))
    if producer.op_type == "ConvTranspose":  # [C, M/groups, ...]: input channels of group g feed its output channels
        groups = producer.attributes.get_int("group", 1)
        if weight.shape[1] * groups != factor.size or weight.shape[0] % groups:
            return None
        split = wide.reshape(groups, weight.shape[0] // groups, *weight.shape[1:])
        return (split * factor.reshape(groups, 1, -1, *[1] * (weight.ndim - 2))).reshape(weight.shape)
    if producer.op_type == "Gemm" and producer.attributes.get_float("beta", 1.0) == 1.0:
        axis = 0 if producer.attributes.get_int("transB", 0) else 1
        if weight.shape[axis] == factor.size:
            return wide * (factor[:, None] if axis == 0 else factor)
    return None


def _array(value: ir.Value | None) -> Array | None:
    return value.const_value.numpy() if value is not None and value.const_value is not None else None
