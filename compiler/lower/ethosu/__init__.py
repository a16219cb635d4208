"""Integer networks (tilewright.integer.network) to Ethos-U command streams, through Vela's public API."""

from __future__ import annotations

from tilewright.lower.ethosu.stream import LayerCode, Stream, compile_network

__all__ = ["LayerCode", "Stream", "compile_network"]
