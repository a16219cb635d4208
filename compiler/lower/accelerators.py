"""Accelerators of integer networks, and their compilers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tilewright.integer.capabilities import Capabilities
from tilewright.integer.network import Network
from tilewright.lower import ethosu, vbd


@dataclass(frozen=True)
class Accelerator:
    """What an accelerator computes, and what compiles a network for it."""

    capabilities: Capabilities
    compile: Callable[[Network], ethosu.Stream | vbd.Stream]


def accelerator(name: str) -> Accelerator:
    """The accelerator of a device's facts: as Vela names it, for example ``ethos-u55-128``, or ``vbd-2048``."""
    if name.startswith("vbd"):
        return Accelerator(vbd.CAPABILITIES, vbd.compile_network)
    return Accelerator(ethosu.CAPABILITIES, lambda network: ethosu.compile_network(network, name))
