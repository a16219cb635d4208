"""The networks that prove the interpreter: between them every operator, data type and memory layout it has."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from benchmarks.nna import layers
from benchmarks.nna.layers import RELU, RELU6, RELU_N1_TO_1, VALID
from benchmarks.nna.tflite import Builder


def convolutions() -> bytes:
    """Kernels of 1 to 9, strides 1 to 3, dilation, VALID and SAME, few and many channels: both weight traversals."""
    b = Builder(1)
    x = layers.conv(b, b.input((1, 25, 23, 3)), 24, 3, activation=RELU)
    x = layers.conv(b, x, 40, 3, stride=2)
    x = layers.conv(b, x, 33, 1, activation=RELU6)
    x = layers.conv(b, x, 16, 3, dilation=2)
    x = layers.conv(b, x, 48, 5, padding=VALID)
    x = layers.conv(b, x, 20, 3, stride=3)
    y = layers.conv(b, b.input((1, 20, 20, 5)), 8, 9)
    return b.finish(x, y)


def mobile() -> bytes:
    """Inverted residuals with a classifier: depthwise, add, global average, fully connected."""
    b = Builder(2)
    x = layers.conv(b, b.input((1, 32, 32, 3)), 16, 3, stride=2, activation=RELU6)
    for channels, stride in ((16, 1), (24, 2), (24, 1), (40, 2)):
        y = layers.conv(b, x, x.shape[3] * 4, 1, activation=RELU6)
        y = layers.depthwise(b, y, 3 if channels < 40 else 5, stride, activation=RELU6)
        y = layers.conv(b, y, channels, 1)
        x = layers.binary(b, "ADD", x, y) if x.shape == y.shape else y
    mean = layers.pool(b, x, "AVERAGE", 4, 4, VALID)
    return b.finish(x, layers.dense(b, layers.reshape(b, mean, 1, x.shape[3]), 10))


def depthwise() -> bytes:
    """Depthwise convolutions: strides, dilation, a multiplier on one channel, odd depths."""
    b = Builder(3)
    x = layers.depthwise(b, b.input((1, 19, 21, 37)), 3)
    x = layers.depthwise(b, x, 5, stride=2, activation=RELU)
    x = layers.depthwise(b, x, 3, dilation=2, padding=VALID)
    y = layers.depthwise(b, b.input((1, 9, 9, 1)), 3, multiplier=12)
    return b.finish(x, y)


def pooling() -> bytes:
    """Average and maximum, with and without padding, small and large windows."""
    b = Builder(4)
    x = b.input((1, 24, 20, 21))
    a = layers.pool(b, x, "MAX", 2, 2)
    a = layers.pool(b, a, "MAX", 3, 1, activation=RELU)
    c = layers.pool(b, x, "AVERAGE", 3, 1)
    c = layers.pool(b, c, "AVERAGE", 2, 2, VALID)
    c = layers.pool(b, c, "AVERAGE", 7, 3, VALID, RELU6)
    d = layers.pool(b, x, "AVERAGE", 5, 2)
    return b.finish(a, c, d)


def _elementwise(dtype: str, seed: int) -> bytes:
    b = Builder(seed)
    x = b.input((1, 9, 11, 18), dtype, 0.05 if dtype == "int8" else 2.0**-10)
    y = b.input((1, 9, 11, 18), dtype, 0.03 if dtype == "int8" else 0.0007, -11)
    same = b.input((1, 9, 11, 18), dtype, x.scale, 3)
    row = b.input((1, 1, 1, 18), dtype, 0.02 if dtype == "int8" else 0.0003, 9)
    column = b.input((1, 9, 1, 1), dtype, 0.04 if dtype == "int8" else 0.0009, 0)
    outputs = [
        layers.binary(b, "ADD", x, y),
        layers.binary(b, "ADD", x, same, RELU),
        layers.binary(b, "SUB", x, y),
        layers.binary(b, "MUL", x, y, RELU6 if dtype == "int8" else 0),
        layers.binary(b, "ADD", x, row),
        layers.binary(b, "SUB", column, x),
        layers.binary(b, "MUL", x, layers.constant(b, (), dtype, x.scale / 3)),
        layers.binary(b, "ADD", x, layers.constant(b, (1, 1, 11, 18), dtype, x.scale * 2)),
        layers.binary(b, "MINIMUM", x, same),
        layers.binary(b, "MAXIMUM", x, same),
    ]
    return b.finish(*outputs)


def elementwise() -> bytes:
    """Binary operators, equal and unequal scales, all kinds of broadcasting, constants."""
    return _elementwise("int8", 5)


def elementwise16() -> bytes:
    """The same with 16 bits."""
    return _elementwise("int16", 6)


def activations() -> bytes:
    """What becomes a table of 256 bytes, and LEAKY_RELU, ABS, RELU_N1_TO_1 and requantization."""
    b = Builder(7)
    x = b.input((1, 7, 13, 19), scale=0.05)
    outputs = [
        layers.unary(b, "TANH", x, 1 / 128, 0),
        layers.unary(b, "LOGISTIC", x, 1 / 256, -128),
        layers.unary(b, "HARD_SWISH", x, 0.03, -9, HardSwishOptions={}),
        layers.unary(b, "LEAKY_RELU", x, 0.04, 5, LeakyReluOptions={"alpha": 0.1}),
        layers.unary(b, "ABS", x, 0.04, -128, AbsOptions={}),
        layers.unary(b, "RELU_N1_TO_1", x, x.scale, x.zero),
        layers.unary(b, "QUANTIZE", x, 0.07, -20, QuantizeOptions={}),
        layers.conv(b, layers.conv(b, x, 8, 1, activation=RELU_N1_TO_1), 8, 3),
    ]
    outputs.append(layers.unary(b, "TANH", layers.conv(b, x, 24, 3), 1 / 128, 0))
    return b.finish(*outputs)


def softmax() -> bytes:
    """Softmax over several rows: maxima, sums over channels, and 32-bit elementwise operators of all kinds."""
    b = Builder(13)
    outputs = []
    for rows, features, scale in ((7, 19, 0.05), (3, 100, 0.02), (1, 10, 0.1)):
        x = b.input((rows, features), scale=scale)
        outputs.append(layers.unary(b, "SOFTMAX", x, 1 / 256, -128, SoftmaxOptions={"beta": 1.0}))
    return b.finish(*outputs)


def upscaling() -> bytes:
    """Transposed convolution, nearest neighbour and bilinear."""
    b = Builder(8)
    x = b.input((1, 7, 9, 16))
    y = b.tensor((1, 14, 18, 16), "int8", x.scale, x.zero)
    near = b.op("RESIZE_NEAREST_NEIGHBOR", [x, b.indices(14, 18)], y, ResizeNearestNeighborOptions={})
    y = b.tensor((1, 14, 18, 16), "int8", x.scale, x.zero)
    bilinear = b.op("RESIZE_BILINEAR", [x, b.indices(14, 18)], y, ResizeBilinearOptions={})
    return b.finish(near, bilinear, layers.transposed(b, x, 12, 3), layers.transposed(b, x, 12, 2, VALID))


def shapes() -> bytes:
    """What only moves data: concatenation, split, slices, padding, reshapes; and means."""
    b = Builder(9)
    x = b.input((1, 8, 12, 20))
    y = layers.conv(b, x, 12, 3)
    z = b.tensor((1, 8, 12, 32), "int8", 0.05, 1)
    z = b.op("CONCATENATION", [layers.unary(b, "QUANTIZE", x, 0.05, 1, QuantizeOptions={}), layers.unary(
        b, "QUANTIZE", y, 0.05, 1, QuantizeOptions={})], z, ConcatenationOptions={"axis": 3})  # fmt: skip
    axis = b.tensor((), "int32", data=np.array(2, np.int32))
    parts = [b.tensor((1, 8, 6, 32), "int8", 0.05, 1) for _ in range(2)]
    b.op_many("SPLIT", [axis, z], parts, SplitOptions={"numSplits": 2})
    pads = b.tensor((4, 2), "int32", data=np.array([[0, 0], [1, 2], [2, 1], [0, 0]], np.int32))
    padded = b.op("PAD", [parts[0], pads], b.tensor((1, 11, 9, 32), "int8", 0.05, 1), PadOptions={})
    out = [layers.conv(b, padded, 8, 3, padding=VALID)]
    bounds = [b.indices(0, 1, 2, 0), b.indices(1, 7, 5, 24), b.indices(1, 1, 1, 1)]
    cut = b.op("STRIDED_SLICE", [parts[1], *bounds], b.tensor((1, 6, 3, 24), "int8", 0.05, 1), StridedSliceOptions={})
    out.append(layers.conv(b, cut, 16, 3))
    mean = b.tensor((1, 1, 1, 32), "int8", 0.02, 2)
    out.append(b.op("MEAN", [z, b.indices(1, 2)], mean, ReducerOptions={"keepDims": True}))
    return b.finish(*out)


def wide() -> bytes:
    """Layers whose weights are cut into slices and fetched by DMA, at 8, 4 and 3 bits and with 90 % zeros."""
    b = Builder(10)
    x = layers.conv(b, b.input((1, 6, 6, 64)), 192, 3, activation=RELU)
    x = layers.conv(b, x, 200, 3, depth=4)
    x = layers.conv(b, x, 136, 3, depth=8, zeros=0.9)
    x = layers.conv(b, x, 136, 1, depth=3)
    x = layers.dense(b, layers.reshape(b, x, 1, 36 * 136), 77)
    return b.finish(x)


def tall() -> bytes:
    """Large feature maps, which Vela computes in stripes through rolling buffers."""
    b = Builder(11)
    x = b.input((1, 160, 48, 8))
    for _ in range(3):
        x = layers.conv(b, x, 16, 3, activation=RELU)
        x = layers.depthwise(b, x, 3)
    return b.finish(layers.pool(b, x, "MAX", 2, 2))


def sixteen() -> bytes:
    """16-bit activations with 8-bit weights: convolution, depthwise, pooling, tables with interpolation."""
    b = Builder(12)
    x = b.input((1, 13, 11, 14), "int16", 2.0**-11)
    y = layers.conv(b, x, 24, 3, activation=RELU)
    y = layers.depthwise(b, y, 3, stride=2)
    y = layers.conv(b, y, 40, 1)
    y = layers.pool(b, y, "MAX", 2, 1)
    out = [
        layers.pool(b, y, "AVERAGE", 3, 1),
        layers.unary(b, "LEAKY_RELU", x, x.scale, 0, LeakyReluOptions={"alpha": 0.2}),
    ]
    out.append(layers.unary(b, "TANH", x, 2.0**-15, 0))
    out.append(layers.unary(b, "LOGISTIC", x, 2.0**-15, 0))
    flat = layers.reshape(b, y, 1, y.shape[1] * y.shape[2] * 40)
    out.append(layers.dense(b, flat, 12))
    return b.finish(*out)


def joined16() -> bytes:
    """The rest with 16 bits: dilation, strides of 3, means without padding, clamped sums, concatenation, doubling."""
    b = Builder(17)
    x = b.input((1, 12, 14, 19), "int16", 2.0**-11)
    y = layers.conv(b, x, 32, 3, dilation=2)
    z = layers.pool(b, layers.conv(b, x, 16, 1, activation=RELU), "MAX", 3, 1)
    near = b.tensor((1, 24, 28, 32), "int16", y.scale)
    near = b.op("RESIZE_NEAREST_NEIGHBOR", [y, b.indices(24, 28)], near, ResizeNearestNeighborOptions={})
    other = b.op("QUANTIZE", [y], b.tensor(y.shape, "int16", z.scale), QuantizeOptions={})
    both = b.tensor((1, 12, 14, 48), "int16", z.scale)
    both = b.op("CONCATENATION", [z, other], both, ConcatenationOptions={"axis": 3})
    mean = layers.pool(b, layers.conv(b, both, 20, 3, stride=3), "AVERAGE", 2, 2, VALID)
    return b.finish(near, layers.binary(b, "ADD", y, y, RELU), layers.depthwise(b, both, 5, stride=2), mean)


def moves() -> bytes:
    """What Vela builds from pooling and convolutions with unusual strides: transposition, mirrors, arg max."""
    b = Builder(14)
    x = b.input((1, 4, 8, 20))
    axes = b.indices(0, 2, 1, 3)
    turned = b.op("TRANSPOSE", [x, axes], b.tensor((1, 8, 4, 20), "int8", x.scale, x.zero), TransposeOptions={})
    pads = b.tensor((4, 2), "int32", data=np.array([[0, 0], [1, 1], [1, 1], [0, 0]], np.int32))
    mirrored = b.tensor((1, 6, 10, 20), "int8", x.scale, x.zero)
    mirrored = b.op("MIRROR_PAD", [x, pads], mirrored, MirrorPadOptions={"mode": 0})
    greatest = b.op("ARG_MAX", [x, b.indices(3)], b.tensor((1, 4, 8), "int32"), ArgMaxOptions={"outputType": 2})
    return b.finish(turned, mirrored, greatest)


def products() -> bytes:
    """A product of two activations, and the square of a difference."""
    b = Builder(15)
    x, y = b.input((1, 4, 8, 20)), b.input((1, 4, 20, 7), scale=0.02)
    product = b.op("BATCH_MATMUL", [x, y], b.tensor((1, 4, 8, 7), "int8", 0.1, 3), BatchMatMulOptions={})
    z = b.input((1, 4, 8, 20), scale=0.03)
    square = b.tensor((1, 4, 8, 20), "int8", 0.15, -100)
    return b.finish(product, b.op("SQUARED_DIFFERENCE", [x, z], square, SquaredDifferenceOptions={}))


def tables() -> bytes:
    """Tables of 512 entries between which the device interpolates, softmax of 16 bits, and conversions of width."""
    b = Builder(16)
    x = b.input((1, 4, 8, 256), "int16", 2.0**-12)
    rows = layers.reshape(b, x, 32, 256)
    outputs = [
        layers.unary(b, "EXP", x, 2.0**-9, 0, ExpOptions={}),
        layers.unary(b, "SOFTMAX", rows, 2.0**-15, 0, SoftmaxOptions={"beta": 1.0}),
        b.op("QUANTIZE", [x], b.tensor(x.shape, "int8", 0.05, 4), QuantizeOptions={}),
    ]
    outputs.append(b.op("QUANTIZE", [outputs[2]], b.tensor(x.shape, "int16", 0.001, 0), QuantizeOptions={}))
    return b.finish(*outputs)


NETWORKS: dict[str, Callable[[], bytes]] = {
    network.__name__: network
    for network in (
        convolutions,
        mobile,
        depthwise,
        pooling,
        elementwise,
        elementwise16,
        activations,
        softmax,
        upscaling,
        shapes,
        wide,
        tall,
        sixteen,
        joined16,
        moves,
        products,
        tables,
    )
}
"""By name."""
