"""The cost model of nna-vbd at the published check points: 8 to 4 bits, 60 % faster with 46 % less traffic.

    python -m benchmarks.nna.checkpoints

The publication says neither which network that was nor which memories the accelerator had. Two networks' shapes are
therefore shown with much and with little memory on the chip. A model: nothing here was measured.
"""

from __future__ import annotations

import sys
from dataclasses import replace

from rich.console import Console
from rich.table import Table

from benchmarks.nna.shapes import at_depth, efficientnet_lite0, resnet50
from tilewright.integer.network import Network
from tilewright.lower.vbd.cost import Facts, Total, costs, total
from tilewright.targets import model_facts

SPEED, TRAFFIC = 1.60, -0.46
"""Published: imagination's own figures for PowerVR Series2NX."""

_DEPTHS = ((16, 16), (8, 8), (4, 8), (4, 4))
_ROOMS = (2 << 20, 512 << 10, 0)
_NETWORKS = {"EfficientNet-Lite0": efficientnet_lite0, "ResNet-50": resnet50}


def modelled(network: Network, facts: Facts, weights: int, activations: int) -> Total:
    """The network at these depths."""
    return total(costs(at_depth(network, weights, activations), facts), facts)


def main() -> int:
    """Returns the exit code: 1 where the model with its own parameters is more than 0.05 from the check points."""
    facts, table = (
        Facts.of(model_facts("nna-vbd")),
        Table("network", "on chip", title="nna-vbd, a model"),
    )
    for heading in ("weights, activations", "ms", "DRAM, MB", "mJ", "speed, of 8 bits", "traffic", "energy"):
        table.add_column(heading, justify="right")
    missed = False
    for name, make in _NETWORKS.items():
        network = make()
        for room in _ROOMS:
            now = replace(facts, on_chip_bytes=room)
            base = modelled(network, now, 8, 8)
            for depths in _DEPTHS:
                found = modelled(network, now, *depths)
                speed, traffic = base.cycles / found.cycles, found.external / base.external - 1
                table.add_row(
                    name, f"{room >> 10} KiB", "{}, {}".format(*depths), f"{found.milliseconds:.2f}",
                    f"{found.external / 1e6:.2f}", f"{found.energy_uj / 1e3:.2f}", f"{speed:.2f}", f"{traffic:+.0%}",
                    f"{found.energy_uj / base.energy_uj - 1:+.0%}",
                )  # fmt: skip
                if (name, room, depths) == ("EfficientNet-Lite0", facts.on_chip_bytes, (4, 4)):
                    missed = abs(speed - SPEED) > 0.05 or abs(traffic - TRAFFIC) > 0.05
    Console().print(table)
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
