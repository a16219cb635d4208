"""Convolution and transposed convolution, one to three spatial dimensions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from tvm import relax, te, tirx

from tilewright.frontend.operators.layer import Expr, Layer, Operator, Refusal, const

_CONV = {1: relax.op.nn.conv1d, 2: relax.op.nn.conv2d, 3: relax.op.nn.conv3d}
_DATA_LAYOUT = {1: "NCW", 2: "NCHW", 3: "NCDHW"}
_KERNEL_LAYOUT = {1: "OIW", 2: "OIHW", 3: "OIDHW"}


def spatial_pads(
    layer: Layer, size: Sequence[int], kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int]
) -> tuple[int, ...]:
    """Padding of each spatial axis, all begins and then all ends, from ``pads`` or ``auto_pad``."""
    mode = layer.text("auto_pad", "NOTSET")
    if mode == "NOTSET":
        return layer.integers("pads", [0] * (2 * len(size)))
    if mode == "VALID":
        return (0,) * (2 * len(size))
    totals = [
        max(0, (-(-n // s) - 1) * s + (k - 1) * d + 1 - n)
        for n, k, s, d in zip(size, kernel, strides, dilations, strict=True)
    ]
    return split_pads(totals, upper=mode == "SAME_UPPER")


def split_pads(totals: Sequence[int], upper: bool) -> tuple[int, ...]:
    """Halves of each total; the odd one goes to the end with ``upper``, else to the beginning."""
    small, large = [total // 2 for total in totals], [total - total // 2 for total in totals]
    return (*small, *large) if upper else (*large, *small)


def _conv(layer: Layer) -> Expr:
    spatial = layer.rank() - 2
    if spatial not in _CONV:
        raise Refusal(f"convolution over {spatial} spatial dimensions is not supported, 1 to 3 are")
    half = layer.dtype() == "float16"  # summed in float32
    y = convolve(layer, layer[0], layer[1], "float32" if half else None)
    y = layer.emit(relax.op.astype(y, "float16")) if half else y
    bias = layer.optional(2)
    return y if bias is None else relax.op.add(y, layer.reshaped(2, (1, -1) + (1,) * spatial))


def convolve(layer: Layer, data: Expr, weight: Expr, out_dtype: str | None = None, pad_value: int = 0) -> Expr:
    """Conv's product alone, with the node's attributes. ``pad_value`` stands for zero in quantised data."""
    size, kernel = layer.shape(0)[2:], [int(dim) for dim in weight.ty.shape][2:]
    spatial = len(size)
    if layer.has("kernel_shape") and list(layer.integers("kernel_shape")) != kernel:
        raise Refusal(f"kernel_shape {layer.integers('kernel_shape')} is not the weight's {tuple(kernel)}")
    strides, dilations = layer.integers("strides", [1] * spatial), layer.integers("dilations", [1] * spatial)
    pads = spatial_pads(layer, size, kernel, strides, dilations)
    if min(pads, default=0) < 0:
        raise Refusal("negative padding is not supported", "put a Slice before the convolution")
    if pad_value:
        widths = [0, 0, 0, 0, *(w for pair in zip(pads[:spatial], pads[spatial:], strict=True) for w in pair)]
        data = layer.emit(relax.op.nn.pad(data, widths, pad_value=pad_value))
        pads = (0,) * (2 * spatial)
    return layer.emit(
        _CONV[spatial](
            data,
            weight,
            strides=list(strides),
            padding=list(pads),
            dilation=list(dilations),
            groups=layer.integer("group", 1),
            data_layout=_DATA_LAYOUT[spatial],
            kernel_layout=_KERNEL_LAYOUT[spatial],
            out_dtype=out_dtype,
        )
    )


def _conv_transpose(layer: Layer) -> Expr:
    """As a convolution, so that a target's convolution kernels serve both."""
    shape, kernel, out = layer.shape(0), layer.shape(1)[2:], layer.out_shape()
    spatial = len(kernel)
    if spatial not in _CONV:
        raise Refusal(f"convolution over {spatial} spatial dimensions is not supported, 1 to 3 are")
    strides, dilations = layer.integers("strides", [1] * spatial), layer.integers("dilations", [1] * spatial)
    begins = _transposed_begins(layer, shape[2:], kernel, strides, dilations)
    groups = layer.integer("group", 1)
    apart = list(kernel) == list(strides) and not any(begins)  # no two taps meet in one output
    if groups == 1 and apart and list(out[2:]) == [n * s for n, s in zip(shape[2:], strides, strict=True)]:
        y = _by_pixel_shuffle(layer)
    else:
        weight = layer.emit(_flipped(layer, groups))
        stuffed = _stuff(layer, [(k - 1) * d for k, d in zip(kernel, dilations, strict=True)], begins, strides)
        y = layer.emit(
            _CONV[spatial](
                stuffed,
                weight,
                dilation=list(dilations),
                groups=groups,
                data_layout=_DATA_LAYOUT[spatial],
                kernel_layout=_KERNEL_LAYOUT[spatial],
            )
        )
    bias = layer.optional(2)
    return y if bias is None else relax.op.add(y, layer.reshaped(2, (1, -1) + (1,) * spatial))


def _transposed_begins(
    layer: Layer, size: Sequence[int], kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int]
) -> tuple[int, ...]:
    """How much the transposed convolution cuts off at the beginning of each axis."""
    spatial, mode = len(kernel), layer.text("auto_pad", "NOTSET")
    if mode == "VALID" or (mode == "NOTSET" and not layer.has("output_shape")):
        return layer.integers("pads", [0] * (2 * spatial))[:spatial] if mode == "NOTSET" else (0,) * spatial
    extra = layer.integers("output_padding", [0] * spatial)
    out = layer.out_shape()[2:]
    totals = [
        max(0, s * (n - 1) + e + (k - 1) * d + 1 - o)
        for n, k, s, d, e, o in zip(size, kernel, strides, dilations, extra, out, strict=True)
    ]
    return split_pads(totals, upper=mode == "SAME_UPPER")[:spatial]


def _by_pixel_shuffle(layer: Layer) -> Expr:
    """Kernel equal to stride: a pointwise convolution to every output of a tile, then the tiles are laid out."""
    (batch, channels, *size), (_, filters, *kernel) = layer.shape(0), layer.shape(1)
    spatial, taps = len(size), math.prod(kernel)
    weight = layer.emit(
        relax.op.permute_dims(layer.emit(relax.op.reshape(layer[1], (channels, filters * taps))), (1, 0))
    )
    weight = layer.emit(relax.op.reshape(weight, (filters * taps, channels) + (1,) * spatial))
    tiles = layer.emit(
        _CONV[spatial](layer[0], weight, data_layout=_DATA_LAYOUT[spatial], kernel_layout=_KERNEL_LAYOUT[spatial])
    )
    split = layer.emit(relax.op.reshape(tiles, (batch, filters, *kernel, *size)))
    order = [0, 1, *(axis for i in range(spatial) for axis in (2 + spatial + i, 2 + i))]
    return layer.emit(relax.op.reshape(layer.emit(relax.op.permute_dims(split, order)), layer.out_shape()))


def _flipped(layer: Layer, groups: int) -> Expr:
    """[C, M/groups, k...] as the weight of the equivalent convolution, [M, C/groups, k reversed...]."""
    channels, filters, *kernel = layer.shape(1)
    array = layer.array(1)
    split = (groups, channels // groups, filters, *kernel)
    if array is not None:
        flat = array.reshape(split).swapaxes(1, 2).reshape(groups * filters, channels // groups, *kernel)
        return const(flat[(slice(None), slice(None), *[slice(None, None, -1)] * len(kernel))], layer.dtype(1))
    order = [0, 2, 1, *range(3, 3 + len(kernel))]
    swapped = layer.emit(relax.op.permute_dims(layer.emit(relax.op.reshape(layer[1], split)), order))
    weight = layer.emit(relax.op.reshape(swapped, (groups * filters, channels // groups, *kernel)))
    for axis in range(2, 2 + len(kernel)):
        weight = layer.emit(relax.op.flip(weight, axis))
    return weight


def _stuff(layer: Layer, reach: Sequence[int], begins: Sequence[int], strides: Sequence[int]) -> Expr:
    """The input with stride - 1 zeros between its elements and the border that the flipped kernel reaches into."""
    shape, dtype, out = layer.shape(0), layer.dtype(0), layer.out_shape()
    padded = (*shape[:2], *(o + r for o, r in zip(out[2:], reach, strict=True)))

    def compute(x: Any) -> Any:
        def at(n: Any, c: Any, *position: Any) -> Any:
            inside, source = [], []
            for p, r, b, s, size in zip(position, reach, begins, strides, shape[2:], strict=True):
                offset = p - (r - b)
                inside += [offset >= 0, offset < size * s]
                if s > 1:
                    inside.append(tirx.floormod(offset, s) == 0)
                source.append(tirx.floordiv(offset, s) if s > 1 else offset)
            return tirx.if_then_else(tirx.all(*inside), x(n, c, *source), tirx.const(0, dtype))

        return te.compute(padded, at, name="stuff")

    return layer.te(compute, layer[0], name="stuff")


OPERATORS: Mapping[str, Operator] = {
    "Conv": Operator(_conv, "one to three spatial dimensions"),
    "ConvTranspose": Operator(_conv_transpose, "one to three spatial dimensions"),
}
