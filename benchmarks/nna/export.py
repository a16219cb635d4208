"""An integer network as a TFLite model: the same layers and integers, for Vela."""

from __future__ import annotations

import numpy as np

from benchmarks.nna.tflite import Builder, Tensor
from tilewright.integer.network import Binary, Concat, Convolution, Map, Network, Pooling, Resize, View
from tilewright.integer.windows import Window

_SAME, _VALID = 0, 1


def to_tflite(network: Network) -> bytes:
    """The model, in int8 and int16: uint8 is moved by 128. Accumulators that are results become int8 (int16
    from int16) of a made-up scale.

    Raises:
        ValueError: a padding that TFLite has no name for, or a table.
    """
    b = Builder()
    made = {index: _tensor(b, network.maps[index]) for index in network.inputs}
    b.inputs = [made[index].index for index in network.inputs]
    for operation in network.operations:
        source = made[operation.sources[0]]
        target = made[operation.target] = _tensor(b, network.maps[operation.target], source.dtype)
        if isinstance(operation, Convolution):
            _convolution(b, operation, source, target)
        elif isinstance(operation, Pooling):
            (height, width), (down, right) = operation.window.kernel, operation.window.strides
            options = {
                "padding": _padding(operation.window, source.shape), "strideH": down, "strideW": right,
                "filterHeight": height, "filterWidth": width,
            }  # fmt: skip
            b.op(f"{operation.kind}_POOL_2D", [source], target, Pool2DOptions=options)
        elif isinstance(operation, Binary):
            option = f"{operation.kind.capitalize()}Options"
            b.op(operation.kind, [source, made[operation.second]], target, **{option: {}})
        elif isinstance(operation, Concat):
            b.op("CONCATENATION", [made[part] for part in operation.parts], target, ConcatenationOptions={"axis": 3})
        elif isinstance(operation, Resize):
            size = b.indices(*network.maps[operation.target].shape[:2])
            b.op("RESIZE_NEAREST_NEIGHBOR", [source, size], target, ResizeNearestNeighborOptions={})
        elif not isinstance(operation, View):
            raise ValueError(f"{operation.layer}: TFLite has no operator for a table")
        else:
            b.op("RESHAPE", [source, b.indices(*target.shape)], target, ReshapeOptions={"newShape": [*target.shape]})
    return b.finish(*(made[index] for index in network.outputs))


def _tensor(b: Builder, source: Map, sums: str = "int8") -> Tensor:
    zero = source.affine.zero - (128 if source.dtype == "uint8" else 0)
    dtype = {"uint8": "int8", "int32": sums}.get(source.dtype, source.dtype)
    return b.tensor((1, *source.shape), dtype, source.affine.scale, zero)


def _convolution(b: Builder, operation: Convolution, source: Tensor, target: Tensor) -> None:
    window, channels = operation.window, len(operation.weights)
    reals = operation.output.factor / np.exp2(operation.output.shift.astype(np.float64))
    if reals.size == 1 and reals.item() == 1.0:  # accumulators
        reals = np.full(1, 1 / 4096)
    scales = np.broadcast_to(reals * target.scale / source.scale, channels).astype(np.float32)
    weights = operation.weights.transpose(3, 1, 2, 0) if operation.depthwise else operation.weights
    axis = 3 if operation.depthwise else 0
    kernel = b.tensor(weights.shape, "int8", scales, 0, weights.astype(np.int8), axis)
    wide = "int64" if source.dtype == "int16" else "int32"
    bias = b.tensor((channels,), wide, scales * np.float32(source.scale), 0, operation.bias.astype(wide))
    options = {
        "padding": _padding(window, source.shape), "strideH": window.strides[0], "strideW": window.strides[1],
        "dilationHFactor": window.dilations[0], "dilationWFactor": window.dilations[1],
    }  # fmt: skip
    if operation.depthwise:
        options["depthMultiplier"] = 1
        b.op("DEPTHWISE_CONV_2D", [source, kernel, bias], target, DepthwiseConv2DOptions=options)
    else:
        b.op("CONV_2D", [source, kernel, bias], target, Conv2DOptions=options)


def _padding(window: Window, shape: tuple[int, ...]) -> int:
    if not any(window.pads):
        return _VALID
    if window.pads == Window.same((shape[1], shape[2]), window.kernel, window.strides, window.dilations).pads:
        return _SAME
    raise ValueError(f"padding {window.pads} is neither VALID nor SAME in TFLite")
