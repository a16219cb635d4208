"""Integer networks (tilewright.integer.network) to Ethos-U command streams, through Vela's public API."""

from __future__ import annotations

from tilewright.integer.capabilities import Capabilities
from tilewright.lower.ethosu.stream import LayerCode, Stream, compile_network

__all__ = ["CAPABILITIES", "LayerCode", "Stream", "compile_network"]

CAPABILITIES = Capabilities()
"""What we compile for it: 8-bit activations, weights of up to 9 bits."""
