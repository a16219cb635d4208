"""What an integer network takes on nna-vbd by a model: cycles, DRAM and on-chip traffic, energy, layer by layer.

Nothing here was measured. The model's parameters are data (targets/models/nna-vbd.toml), its rules are these:

- Convolutions multiply at the published rate, of which engines use what the layer's shape lets them: each takes an
  output channel of its own and adds up ``dot`` products at a time, of as many output elements as it has multipliers
  for. Everything else makes ``elements`` results a clock.
- Weights come from DRAM once, packed at their depth; so do biases and scales.
- A feature map whose bytes, packed at its depth, fit on the chip from the layer that makes it to the last that reads
  it goes nowhere else; maps that save the most traffic for the room and time that they take come first. All other
  maps, inputs and outputs among them, are written to DRAM once and read once by each layer: inputs and outputs as
  hosts hold them (1, 2 or 4 bytes an integer), others packed. Maps that only view others are those.
- What a layer reads and writes passes through on-chip memory once; a layer takes as long as the slowest of its
  arithmetic, on-chip memory and DRAM, which overlap within a layer and not between layers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from tilewright.integer.depths import packed_bytes
from tilewright.integer.network import Convolution, Lookup, Network, Operation, View
from tilewright.lower.stream_memory import lifetimes, shared
from tilewright.lower.vbd.weights import SCALE_BYTES, bias_bytes


@dataclass(frozen=True)
class Facts:
    """The parameters; units are in the TOML file."""

    clock_hz: float
    engines: int
    macs_8: int
    macs_16: int
    dot: int
    elements: int
    on_chip_bytes: int
    dram_bytes_per_clock: float
    sram_bytes_per_clock: float
    multiply_pj: float
    accumulate_pj: float
    sram_pj_per_byte: float
    dram_pj_per_byte: float

    @staticmethod
    def of(table: Mapping[str, Any]) -> Facts:
        """From a TOML table; raises KeyError where a parameter is missing."""
        return Facts(**{entry.name: table[entry.name] for entry in fields(Facts)})


@dataclass(frozen=True)
class LayerCost:
    """One layer; bytes and cycles are of one inference.

    Attributes:
        busy: cycles that the arithmetic alone takes.
        utilisation: share of the multipliers that is busy over all cycles.
        weight_bytes: of the traffic with DRAM those that are weights, biases, scales and tables.
        external, sram: bytes read and written in DRAM and on the chip.
        energy_uj: in microjoules.
    """

    layer: str
    cycles: int
    busy: int
    macs: int
    utilisation: float
    weight_bytes: int
    external: int
    sram: int
    energy_uj: float


@dataclass(frozen=True)
class Total:
    """A network."""

    cycles: int
    milliseconds: float
    macs: int
    external: int
    sram: int
    energy_uj: float


def costs(network: Network, facts: Facts) -> tuple[LayerCost, ...]:
    """The cost of every layer, in order; views take nothing and are left out."""
    outside = _outside(network, facts.on_chip_bytes)
    return tuple(
        _cost(network, operation, outside, facts) for operation in network.operations if not isinstance(operation, View)
    )


def total(layers: tuple[LayerCost, ...], facts: Facts) -> Total:
    """The sum."""
    cycles = sum(layer.cycles for layer in layers)
    return Total(
        cycles,
        1e3 * cycles / facts.clock_hz,
        sum(layer.macs for layer in layers),
        sum(layer.external for layer in layers),
        sum(layer.sram for layer in layers),
        sum(layer.energy_uj for layer in layers),
    )


def off_chip(network: Network, capacity: int) -> frozenset[int]:
    """The maps that lie in DRAM: inputs, outputs, and those for which there is no room on the chip."""
    roots = shared(network)
    spans = lifetimes(network, roots)
    ends = {roots[index] for index in (*network.inputs, *network.outputs)}
    free = [capacity] * len(network.operations)
    readers = {root: 0 for root in spans}
    for operation in network.operations:
        if not isinstance(operation, View):
            for index in dict.fromkeys(roots[source] for source in operation.sources):
                readers[index] += 1
    order = sorted(spans, key=lambda root: (-(1 + readers[root]) / (spans[root][1] - spans[root][0] + 1), root))
    inside = set()
    for root in order:
        first, last = spans[root]
        nbytes = network.maps[root].packed_bytes
        if root not in ends and nbytes <= min(free[first : last + 1]):
            free[first : last + 1] = [room - nbytes for room in free[first : last + 1]]
            inside.add(root)
    return frozenset(index for index, root in roots.items() if root not in inside)


def _outside(network: Network, capacity: int) -> dict[int, int]:
    """Bytes of the maps that lie in DRAM."""
    roots = shared(network)
    ends = {roots[index] for index in (*network.inputs, *network.outputs)}
    return {
        index: network.maps[index].nbytes if roots[index] in ends else network.maps[index].packed_bytes
        for index in off_chip(network, capacity)
    }


def _cost(network: Network, operation: Operation, outside: Mapping[int, int], facts: Facts) -> LayerCost:
    target = network.maps[operation.target]
    sources = [network.maps[index] for index in dict.fromkeys(operation.sources)]
    constants = macs = 0
    energy = 0.0
    if isinstance(operation, Convolution):
        depth = max(source.affine.bits for source in sources)
        products = math.prod(operation.weights.shape[1:])
        positions = target.shape[0] * target.shape[1]
        channels = len(operation.weights)
        macs = products * channels * positions
        rate = facts.macs_8 if max(depth, operation.bits) <= 8 else facts.macs_16
        lanes = rate // facts.engines // facts.dot  # output elements that an engine works on at a time
        compute = -(-channels // facts.engines) * -(-positions // lanes) * -(-products // facts.dot)
        records = channels * bias_bytes(operation.bias) + SCALE_BYTES * len(operation.output.factor)
        constants = operation.weight_bytes + records
        energy = macs * (facts.multiply_pj * depth * operation.bits / 64 + facts.accumulate_pj)
    else:
        work = max(target.elements, *(source.elements for source in sources))
        compute, rate = -(-work // facts.elements), facts.macs_8
        energy = work * facts.accumulate_pj
        if isinstance(operation, Lookup):
            constants = packed_bytes(operation.table.size, target.affine.bits)
    moved = constants + target.packed_bytes + sum(source.packed_bytes for source in sources)
    indices = (*dict.fromkeys(operation.sources), operation.target)
    dram = constants + sum(outside.get(index, 0) for index in indices)
    sram = moved + dram  # what comes from DRAM is written to the chip first, what goes there read from it
    cycles = max(compute, math.ceil(dram / facts.dram_bytes_per_clock), math.ceil(sram / facts.sram_bytes_per_clock))
    energy += sram * facts.sram_pj_per_byte + dram * facts.dram_pj_per_byte
    busy = macs / (cycles * rate) if cycles else 0.0
    return LayerCost(operation.layer, cycles, compute, macs, busy, constants, dram, sram, energy / 1e6)
