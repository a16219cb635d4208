"""Parts of a quantized graph that compute in integers alone, handed to a compiler of their own.

Files in reading order: ``standardise`` (one form for quantizers), ``values`` (quantized values and weights), ``match``
(layers as integer operations, by ``linear``, ``pooling``, ``pointwise``, ``moves``), ``parts`` (which layers go
together), ``offload`` (the graph without them).
"""

from __future__ import annotations

from tilewright.frontend.quantized.offload import Compiled, Offload, offload

__all__ = ["Compiled", "Offload", "offload"]
