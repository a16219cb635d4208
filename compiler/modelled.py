"""What a network takes on an accelerator by its model, as a function of the depths of weights and activations.

The network is quantized to 8 bits once, as the target would get it; its integer parts are what the model is asked
about, with other depths. Layers that no part holds run elsewhere and count for nothing here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import onnx_ir as ir

from tilewright import passes
from tilewright.errors import RecipeError
from tilewright.formats.packed import pack
from tilewright.integer.network import Concat, Convolution, Lookup, Map, Network, Operation
from tilewright.lower.vbd.cost import Facts, LayerCost, costs
from tilewright.passes.activation_plan import Rule, make_plan
from tilewright.passes.calibrate import Statistics
from tilewright.passes.encode import Encode
from tilewright.passes.quantize_activations import QuantizeActivations
from tilewright.passes.weights import weights_in
from tilewright.recipe import format_of

Measure = Callable[[LayerCost], float]

_SHALLOW = 8  # bits of what has a depth to choose


@dataclass(frozen=True)
class Modelled:
    """A network on an accelerator.

    Attributes:
        networks: its integer parts, at 8 bits.
        groups: the activation (passes/activation_plan.py) that a map belongs to, by the map's name.
        measure: what of a layer's cost counts.
    """

    networks: tuple[Network, ...]
    facts: Facts
    groups: Mapping[str, str]
    measure: Measure
    layers: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        names = {layer.layer for network in self.networks for layer in network.operations
                 if isinstance(layer, Convolution)}  # fmt: skip
        object.__setattr__(self, "layers", frozenset(names))

    def by_layer(self, weights: Mapping[str, int] | int, activations: Mapping[str, int]) -> dict[str, float]:
        """What every layer takes.

        Args:
            weights: bits by layer, or of all layers; those that are not named keep 8.
            activations: bits by group; those that are not named keep 8.
        """
        found: dict[str, float] = {}
        for network in self.networks:
            for cost in costs(self._at(network, weights, activations), self.facts):
                found[cost.layer] = found.get(cost.layer, 0.0) + self.measure(cost)
        return found

    def total(self, weights: Mapping[str, int] | int, activations: Mapping[str, int]) -> float:
        """What the network takes."""
        return sum(self.by_layer(weights, activations).values())

    def _at(self, network: Network, weights: Mapping[str, int] | int, activations: Mapping[str, int]) -> Network:
        maps: list[Map] = []
        for source in network.maps:
            bits = activations.get(self.groups.get(source.name, ""))
            if bits is not None and source.affine.bits <= _SHALLOW:
                source = replace(source, affine=replace(source.affine, bits=bits))
            maps.append(source)
        operations: list[Operation] = []
        for layer in network.operations:
            if isinstance(layer, Convolution):
                layer = replace(
                    layer, bits=weights if isinstance(weights, int) else weights.get(layer.layer, layer.bits)
                )
            elif isinstance(layer, Concat):
                layer = _joined(layer, maps, operations)
            operations.append(layer)
        return replace(network, maps=tuple(maps), operations=tuple(operations))


def _joined(layer: Concat, maps: list[Map], operations: list[Operation]) -> Concat:
    """A concatenation whose operands come to the target's depth by tables, as lowering does it."""
    affine, parts = maps[layer.target].affine, []
    for index in layer.parts:
        part = maps[index]
        if part.affine.bits != affine.bits:
            table = np.zeros(1 << part.affine.bits, affine.dtype)
            operations.append(Lookup(f"{part.name}/before {layer.layer}", index, len(maps), table))
            index = len(maps)
            maps.append(replace(part, name=f"{part.name}/joined", affine=affine))
        parts.append(index)
    return replace(layer, parts=tuple(parts))


def modelled(
    graph: ir.Model,
    rule: Rule,
    statistics: Statistics,
    facts: Facts,
    measure: Measure,
    results: int | None = None,
) -> Modelled:
    """Finds a float graph's integer parts.

    Args:
        graph: normalised; left unchanged.
        rule, statistics: of quantized activations; depths above 8 bits are taken as they are, others as 8.
        results: depth of results that float layers read, see QuantizeActivations.

    Raises:
        RecipeError: the accelerator would compute nothing of it.
    """
    groups: dict[str, str] = {}
    for group in make_plan(graph.graph, rule).groups:
        for value in (*group.values, *group.above):
            groups |= dict.fromkeys(_map_names(value.name or ""), group.root.name or "")
    copy = graph.clone()
    wanted = format_of("int8", "dense", "raw")
    chosen = {weight.value.name: pack(weight.matrix, wanted) for weight in weights_in(copy.graph)}
    passes.run(copy, [Encode(lambda weight: chosen.get(weight.value.name))])

    def eight(node: ir.Node) -> int | None:
        bits = rule(node)
        return None if bits is None else max(bits, 8)

    passes.run(copy, [QuantizeActivations(eight, statistics, "minmax", results=results)])
    networks = tuple(integer_parts(copy))
    if not networks:
        raise RecipeError("allocate: the target computes nothing of this network in integers, so nothing can be saved")
    return Modelled(networks, facts, groups, measure)


def integer_parts(model: ir.Model) -> Iterable[Network]:
    """The parts of a quantized model that an accelerator of variable depth would compute."""
    from tilewright import frontend
    from tilewright.frontend.quantized import offload
    from tilewright.lower.vbd import CAPABILITIES, compile_network

    return [network for _, network, _ in offload(frontend.load(model), compile_network, CAPABILITIES).parts]


def _map_names(value: str) -> tuple[str, str]:
    """What standardise.py and fake_quantize.py call the integers of a value."""
    return f"{value}_integers", f"{value}_quantize.integers"
