"""Parts of a quantized graph that compute in integers alone, handed to a compiler of their own.

Files in reading order: ``standardise`` (one form for quantizers, made of ``pairs``), ``hoist`` and ``deepen`` (more of
them, the latter with ``bounds``), ``values`` (quantized values and weights), ``match`` (layers as integer operations,
by ``linear``, ``pooling``, ``pointwise`` with ``expression``, ``moves``), ``parts`` (which layers go together),
``offload`` (the graph without them). What an accelerator computes is in ``integer/capabilities``.
"""

from __future__ import annotations

from tilewright.frontend.quantized.offload import Compiled, Offload, offload

__all__ = ["Compiled", "Offload", "offload"]
