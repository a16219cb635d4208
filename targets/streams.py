"""Command streams among a network's kernels: what lowering calls them, and how they become launches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tilewright.plan import Image, Module
from tilewright.targets.base import KernelCall, KernelCode

PAYLOAD = "tilewright.stream"
"""Attribute of a PrimFunc that is a command stream: the driver payload, in hexadecimal."""
SCRATCH = "tilewright.scratch"
"""Attribute of such a PrimFunc: bytes of each of its workspaces, at least one."""


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

    A launch's arguments are the stream's base pointers: weights, workspaces, inputs, outputs.
    """
    code: dict[str, KernelCode] = {}
    modules: list[Module] = []
    for name, function in kernels.items():
        number, workspaces = first + len(modules), tuple(max(int(size), 1) for size in function.attrs[SCRATCH])
        operands = tuple(range(len(function.params)))
        spaces = (-1 - place for place in range(len(workspaces)))
        call = KernelCall("stream", number, (operands[0], *spaces, *operands[1:]))
        code[name] = KernelCode((call,), workspaces)
        payload = bytes.fromhex(str(function.attrs[PAYLOAD]))
        modules.append(Module(name, (Image(kind, arch, (), "", payload),)))
    return code, modules
