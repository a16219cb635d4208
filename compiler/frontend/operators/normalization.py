"""Normalisation layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from tvm import relax

from tilewright.frontend.operators.layer import Expr, Layer, Operator, Refusal, const


def _batch_norm(layer: Layer) -> Expr:
    """Inference only: one multiplication and one addition per element, the factors computed now where they can be."""
    if layer.integer("training_mode", 0) or any(layer.wants(i) for i in range(1, len(layer.node.outputs))):
        raise Refusal("BatchNormalization in training mode is not supported", "export the model in evaluation mode")
    shape, epsilon = (1, -1) + (1,) * (layer.rank() - 2), layer.number("epsilon", 1e-5)
    arrays = [layer.array(i) for i in range(1, 5)]
    if all(array is not None for array in arrays):
        scale, beta, mean, variance = (np.asarray(array, np.float64) for array in arrays)
        factor = scale / np.sqrt(variance + epsilon)
        dtype = layer.dtype()
        y = layer.emit(relax.op.multiply(layer[0], const(factor.reshape(shape), dtype)))
        return relax.op.add(y, const((beta - mean * factor).reshape(shape), dtype))
    dtype = layer.dtype(4)
    deviation = layer.emit(relax.op.sqrt(layer.emit(relax.op.add(layer[4], const(epsilon, dtype)))))
    factor = layer.emit(relax.op.divide(layer[1], deviation))
    shift = layer.emit(relax.op.subtract(layer[2], layer.emit(relax.op.multiply(layer[3], factor))))
    y = layer.emit(relax.op.multiply(layer[0], layer.emit(relax.op.reshape(factor, shape))))
    return relax.op.add(y, layer.emit(relax.op.reshape(shift, shape)))


def _centred(layer: Layer, x: Expr, axes: Sequence[int]) -> tuple[Expr, Expr, Expr]:
    """The mean, x minus it, and the variance, over axes that are kept."""
    mean = layer.emit(relax.op.mean(x, axis=list(axes), keepdims=True))
    centred = layer.emit(relax.op.subtract(x, mean))
    square = layer.emit(relax.op.multiply(centred, centred))
    return mean, centred, layer.emit(relax.op.mean(square, axis=list(axes), keepdims=True))


def _inverse_deviation(layer: Layer, variance: Expr, epsilon: float, dtype: str) -> Expr:
    return layer.emit(relax.op.rsqrt(layer.emit(relax.op.add(variance, const(epsilon, dtype)))))


def _layer_norm(layer: Layer) -> Sequence[Expr]:
    """All three outputs: Y, Mean and InvStdDev, the statistics in stash_type (float32)."""
    axes = range(layer.axis(-1), layer.rank())
    dtype = layer.dtype()
    stash = "float32" if layer.integer("stash_type", 1) == 1 and dtype == "float16" else dtype
    x = layer[0] if stash == dtype else layer.emit(relax.op.astype(layer[0], stash))
    mean, centred, variance = _centred(layer, x, axes)
    inverse = _inverse_deviation(layer, variance, layer.number("epsilon", 1e-5), stash)
    y = layer.emit(relax.op.multiply(centred, inverse))
    y = y if stash == dtype else layer.emit(relax.op.astype(y, dtype))
    y = layer.emit(relax.op.multiply(y, layer[1]))
    bias = layer.optional(2)
    outputs = [y if bias is None else relax.op.add(y, bias)]
    for index, value in ((1, mean), (2, inverse)):
        if index < len(layer.node.outputs):
            wanted = layer.out_dtype(index) if layer.wants(index) else stash
            outputs.append(value if wanted == stash else layer.emit(relax.op.astype(value, wanted)))
    return outputs


def _rms_norm(layer: Layer) -> Expr:
    axes = list(range(layer.axis(-1), layer.rank()))
    dtype = layer.dtype()
    stash = "float32" if layer.integer("stash_type", 1) == 1 and dtype == "float16" else dtype
    x = layer[0] if stash == dtype else layer.emit(relax.op.astype(layer[0], stash))
    square = layer.emit(relax.op.mean(layer.emit(relax.op.multiply(x, x)), axis=axes, keepdims=True))
    y = layer.emit(relax.op.multiply(x, _inverse_deviation(layer, square, layer.number("epsilon", 1e-5), stash)))
    y = y if stash == dtype else layer.emit(relax.op.astype(y, dtype))
    return relax.op.multiply(y, layer[1])


def _instance_norm(layer: Layer) -> Expr:
    axes, dtype = range(2, layer.rank()), layer.dtype()
    _, centred, variance = _centred(layer, layer[0], axes)
    inverse = _inverse_deviation(layer, variance, layer.number("epsilon", 1e-5), dtype)
    return _affine(layer, layer.emit(relax.op.multiply(centred, inverse)), (1, -1) + (1,) * len(axes))


def _affine(layer: Layer, y: Expr, shape: Sequence[int]) -> Expr:
    scale, bias = (layer.emit(relax.op.reshape(layer[i], shape)) for i in (1, 2))
    return relax.op.add(layer.emit(relax.op.multiply(y, scale)), bias)


def _group_norm(layer: Layer) -> Expr:
    """Scale and bias belong to groups before opset 21, to channels since."""
    batch, channels, *size = layer.shape()
    groups, dtype = layer.integer("num_groups"), layer.dtype()
    grouped = layer.emit(relax.op.reshape(layer[0], (batch, groups, channels // groups, *size)))
    stash = "float32" if dtype == "float16" and layer.opset >= 21 and layer.integer("stash_type", 1) == 1 else dtype
    grouped = grouped if stash == dtype else layer.emit(relax.op.astype(grouped, stash))
    _, centred, variance = _centred(layer, grouped, range(2, 3 + len(size)))
    inverse = _inverse_deviation(layer, variance, layer.number("epsilon", 1e-5), stash)
    y = layer.emit(relax.op.multiply(centred, inverse))
    y = y if stash == dtype else layer.emit(relax.op.astype(y, dtype))
    if layer.opset < 21:
        y = layer.emit(_affine(layer, y, (1, groups) + (1,) * (1 + len(size))))
        return relax.op.reshape(y, layer.shape())
    y = layer.emit(relax.op.reshape(y, layer.shape()))
    return _affine(layer, y, (1, channels) + (1,) * len(size))


def _lp_norm(layer: Layer) -> Expr:
    axis, p, dtype = layer.axis(-1), layer.integer("p", 2), layer.dtype()
    size = relax.op.abs(layer[0]) if p == 1 else relax.op.multiply(layer[0], layer[0])
    total = layer.emit(relax.op.sum(layer.emit(size), axis=[axis], keepdims=True))
    norm = total if p == 1 else layer.emit(relax.op.sqrt(total))
    zero = layer.emit(relax.op.equal(norm, const(0, dtype)))  # a vector of zeros stays one
    norm = layer.emit(relax.op.where(zero, const(1, dtype), norm))
    return relax.op.divide(layer[0], norm)


def _local_response(layer: Layer) -> Expr:
    """Sums squares over neighbouring channels, through an average pooling along them."""
    size, dtype = layer.integer("size"), layer.dtype()
    batch, channels, *rest = layer.shape()
    alpha, beta, bias = layer.number("alpha", 1e-4), layer.number("beta", 0.75), layer.number("bias", 1.0)
    square = layer.emit(relax.op.multiply(layer[0], layer[0]))
    plane = layer.emit(relax.op.reshape(square, (batch, 1, channels, int(np.prod(rest, dtype=np.int64)))))
    before, after = (size - 1) // 2, size // 2
    pooled = layer.emit(relax.op.nn.avg_pool2d(plane, (size, 1), (1, 1), (before, 0, after, 0), count_include_pad=True))
    mean = layer.emit(relax.op.reshape(pooled, layer.shape()))  # the sum over the window, divided by its size
    base = layer.emit(relax.op.add(layer.emit(relax.op.multiply(mean, const(alpha, dtype))), const(bias, dtype)))
    return relax.op.divide(layer[0], layer.emit(relax.op.power(base, const(beta, dtype))))


OPERATORS: Mapping[str, Operator] = {
    "BatchNormalization": Operator(_batch_norm, "inference only"),
    "GroupNormalization": Operator(_group_norm),
    "InstanceNormalization": Operator(_instance_norm),
    "LRN": Operator(_local_response),
    "LayerNormalization": Operator(_layer_norm),
    "LpNormalization": Operator(_lp_norm),
    "RMSNormalization": Operator(_rms_norm),
}
