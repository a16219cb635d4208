"""Accelerators by the name in a device's facts."""

from __future__ import annotations

import pytest

from tests.lower.vbd.networks import Builder
from tilewright.integer.capabilities import Capabilities
from tilewright.lower import ethosu, vbd
from tilewright.lower.accelerators import accelerator
from tilewright.targets import device_facts, device_names


@pytest.mark.parametrize("device", [name for name in device_names() if name.startswith("nna-")])
def test_every_device_has_one(device: str) -> None:
    found = accelerator(str(device_facts(device)["accelerator"]))
    assert found.capabilities is (vbd.CAPABILITIES if "vbd" in device else ethosu.CAPABILITIES)


def test_it_compiles() -> None:
    b = Builder(0)
    x = b.map(2, 2, 3)
    network = b.network([x], [b.conv(x, 4)])
    assert accelerator("vbd-2048").compile(network) == vbd.compile_network(network)


def test_depths_are_the_least_that_hold_the_bits() -> None:
    assert [vbd.CAPABILITIES.depth(bits) for bits in (1, 4, 9, 11, 16, 17)] == [4, 4, 10, 12, 16, None]
    assert [Capabilities().depth(bits) for bits in (4, 8, 9)] == [8, 8, None]
