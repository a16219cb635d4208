"""Integer networks (tilewright.integer.network) to Ethos-U command streams, through Vela's public API."""

from __future__ import annotations

from typing import get_args

from tilewright.integer.capabilities import Capabilities
from tilewright.integer.network import Operation
from tilewright.lower.ethosu.stream import LayerCode, Stream, compile_network

__all__ = ["CAPABILITIES", "LayerCode", "Stream", "compile_network"]

CAPABILITIES = Capabilities(
    depths=(8, 16),
    symmetric=(16,),
    deep_accumulator_bits=40,
    reduced=True,
    clamps=True,
    table_depth=16,
    slope_bits=16,
    operations=get_args(Operation),
    doubling=True,
)
"""What we compile for it: activations of 8 or (without zero points) 16 bits, weights of up to 9."""
