"""Command streams among a network's kernels: what lowering calls them, and how they become launches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tilewright.plan import Image, Module
from tilewright.targets.base import KernelCall, KernelCode

PAYLOAD = "tilewright.stream"
"""Attribute of a PrimFunc that is a command stream: the driver payload, in hexadecimal."""
SCRATCH = "tilewright.scratch"
"""Attribute of such a PrimFunc: bytes of its scratch memory."""


def is_stream(function: Any) -> bool:
    """Whether a PrimFunc is a command stream."""
    return bool(function.attrs) and PAYLOAD in function.attrs


def stream_code(
    kernels: Mapping[str, Any], kind: str, arch: str, first: int
) -> tuple[dict[str, KernelCode], list[Module]]:
    """Launches and modules of command streams.

    Args:
        kind: of the images: ``ethosu`` or ``vbd``.
        arch: of the images, e.g. ``u55-128``.
        first: the number of the first module.

    A launch's arguments are the stream's base pointers: weights, scratch memory, inputs, outputs.
    """
    code: dict[str, KernelCode] = {}
    modules: list[Module] = []
    for name, function in kernels.items():
        number, scratch = first + len(modules), int(function.attrs[SCRATCH])
        operands = tuple(range(len(function.params)))
        call = KernelCall("stream", number, (operands[0], -1, *operands[1:]))
        code[name] = KernelCode((call,), (max(scratch, 1),))
        payload = bytes.fromhex(str(function.attrs[PAYLOAD]))
        modules.append(Module(name, (Image(kind, arch, (), "", payload),)))
    return code, modules
