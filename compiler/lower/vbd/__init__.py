"""Integer networks (tilewright.integer.network) to streams of nna-vbd, whose integers have 4 to 16 bits.

runtime/NNA.md describes the format; runtime/src/vbd runs it.
"""

from __future__ import annotations

from typing import get_args

from tilewright.integer.capabilities import Capabilities
from tilewright.integer.depths import DEPTHS
from tilewright.integer.network import Operation
from tilewright.lower.vbd.stream import LayerCode, Stream, compile_network

__all__ = ["CAPABILITIES", "LayerCode", "Stream", "compile_network"]

CAPABILITIES = Capabilities(
    depths=DEPTHS,
    weight_depths=DEPTHS,
    accumulator_bits=48,
    mixed=True,
    table_depth=16,
    fused_tables=True,
    operations=get_args(Operation),
    kernel=255,
    stride=255,
    dilation=255,
)
