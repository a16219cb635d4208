"""Maxima and means."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from tilewright.frontend.quantized.geometry import integer, window_of
from tilewright.frontend.quantized.linear import linear
from tilewright.frontend.quantized.result import Build, Match, keeps, result_of
from tilewright.frontend.quantized.values import Unfit, integers_of, map_shape
from tilewright.integer.capabilities import Capabilities
from tilewright.integer.network import Pooling
from tilewright.integer.windows import Window


def max_pool(node: ir.Node, capabilities: Capabilities) -> Match:
    return _pool(node, "MAX", capabilities)


def average_pool(node: ir.Node, capabilities: Capabilities) -> Match:
    return _pool(node, "AVERAGE", capabilities)


def _pool(node: ir.Node, kind: str, capabilities: Capabilities) -> Match:
    source, before = integers_of(node.inputs[0])
    assert node.inputs[0] is not None
    height, width, depth = map_shape(node.inputs[0])
    if node.op_type.startswith("Global"):
        window = Window((height, width))
        if max(window.kernel) > capabilities.kernel:
            raise Unfit(f"window is larger than {capabilities.kernel}")
    else:
        kernel = tuple(int(size) for size in node.attributes["kernel_shape"].as_ints())
        if len(kernel) != 2:
            raise Unfit("window is not two-dimensional")
        window = window_of(node, (height, width), map_shape(node.outputs[0]), (kernel[0], kernel[1]), capabilities)
    if kind == "AVERAGE" and any(window.pads) and integer(node, "count_include_pad", 0):
        raise Unfit("mean counts padding")
    result = result_of(node)
    if keeps(source, before, result):
        build: Build = lambda from_, to: Pooling(node.name or node.op_type, from_, to, kind, window)  # noqa: E731
        return Match(node, (source,), result.target, result.affine, build)
    if kind == "MAX" or any(window.pads):
        raise Unfit("result is quantized differently")
    # A mean with another scale is a depthwise convolution with ones.
    taps = window.kernel[0] * window.kernel[1]
    ones = np.ones((depth, *window.kernel, 1), np.int64)
    return linear(node, ones, np.full(depth, 1 / taps), window, True, capabilities)
