"""The geometry of windows: kernels, strides, paddings."""

from __future__ import annotations

import onnx_ir as ir

from tilewright.frontend.quantized.values import Unfit
from tilewright.integer.capabilities import Capabilities
from tilewright.integer.windows import Window


def window_of(
    node: ir.Node, size: tuple[int, int], out: tuple[int, int, int], kernel: tuple[int, int], most: Capabilities
) -> Window:
    """A node's geometry; padding at the end is what the outputs reach, whatever ``auto_pad`` and ``ceil_mode`` say."""
    strides = _pair(node, "strides")
    dilations = _pair(node, "dilations")
    reach = [(taps - 1) * dilation + 1 for taps, dilation in zip(kernel, dilations, strict=True)]
    if max(reach) > most.kernel or max(strides) > most.stride or max(dilations) > most.dilation:
        raise Unfit(f"kernel {kernel} with strides {strides} and dilations {dilations} is too large")
    pads = tuple(int(pad) for pad in node.attributes["pads"].as_ints()) if "pads" in node.attributes else (0, 0, 0, 0)
    automatic = node.attributes["auto_pad"].as_string() if "auto_pad" in node.attributes else "NOTSET"
    starts, ends = [], []
    for place in range(2):
        total = max((out[place] - 1) * strides[place] + reach[place] - size[place], 0)
        start = {"SAME_UPPER": total // 2, "SAME_LOWER": total - total // 2}.get(automatic, pads[place])
        starts.append(start)
        ends.append(max(total - start, 0))
    if any(start >= length for start, length in zip(starts, reach, strict=True)):
        raise Unfit("padding is wider than the kernel")
    return Window(kernel, strides, dilations, (starts[0], starts[1], ends[0], ends[1]))


def _pair(node: ir.Node, name: str) -> tuple[int, int]:
    given = tuple(int(item) for item in node.attributes[name].as_ints()) if name in node.attributes else (1, 1)
    return given[0], given[-1]


def integer(node: ir.Node, name: str, default: int) -> int:
    return node.attributes[name].as_int() if name in node.attributes else default


def number(node: ir.Node, name: str, default: float) -> float:
    return node.attributes[name].as_float() if name in node.attributes else default
