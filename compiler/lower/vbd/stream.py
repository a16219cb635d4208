"""A network's stream: a header, feature maps, and operations with the addresses of their weights."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from tilewright.errors import UnsupportedError
from tilewright.integer.depths import entropy_bits
from tilewright.integer.network import Concat, Convolution, Lookup, Map, Network, Operation, Pooling, Resize, View
from tilewright.integer.rounding import Requantize
from tilewright.integer.windows import Window
from tilewright.lower.vbd.checks import output_of, problems, sum_of
from tilewright.lower.vbd.cost import Facts, LayerCost, costs
from tilewright.lower.vbd.memory import Place, place
from tilewright.lower.vbd.weights import Weights
from tilewright.targets import model_facts

MAGIC = b"VBD1"
CODES = {
    name: code
    for code, name in enumerate(
        ("CONVOLUTION", "DEPTHWISE", "MAXIMUM", "AVERAGE", "ADD", "SUBTRACT", "MULTIPLY", "TABLE", "CONCAT", "RESIZE"),
        start=1,
    )
}
_SIGNED, _PACKED = 1, 2


@dataclass(frozen=True)
class LayerCode:
    """What one layer became.

    Attributes:
        operation: its name in the stream.
        input_bits, weight_bits, output_bits: depths; weights of 0 bits are none.
        weight_bytes: of the weights, ``weight_bits`` each.
        scale_bytes: of biases and scales, or of a table.
        plain_bytes: of the weights at 8 bits.
        entropy_bytes: of the weights at their zero-order entropy: what no code without context gets below.
        estimate: what the layer takes by a model; nothing was measured.
        utilisation: share of the multipliers that is busy by it.
    """

    layer: str
    operation: str
    input_bits: int
    weight_bits: int
    output_bits: int
    weight_bytes: int
    scale_bytes: int
    plain_bytes: int
    entropy_bytes: float
    estimate: LayerCost
    utilisation: float


@dataclass(frozen=True)
class Stream:
    """A stream and what it needs in memory.

    Attributes:
        payload: header, maps and operations.
        weights: region 0.
        scratch_bytes: size of region 1. Inputs, then outputs, follow from region 2 on.
    """

    payload: bytes
    weights: bytes
    scratch_bytes: int
    layers: tuple[LayerCode, ...]

    @property
    def workspaces(self) -> tuple[int, ...]:
        return (self.scratch_bytes,)


def compile_network(network: Network) -> Stream:
    """Compiles a network.

    Raises:
        UnsupportedError: too many inputs and outputs; a depth, a zero point or a scale that the format does not hold;
            a layer whose sums may leave 48 bits.
    """
    if found := problems(network):
        raise UnsupportedError("The variable-depth NNA cannot take a part of the network", found)
    return _Emitter(network).run()


class _Emitter:
    def __init__(self, network: Network) -> None:
        self.network = network
        self.placement = place(network)
        self.weights = Weights()
        self.numbers = {index: number for number, index in enumerate(self.placement.places)}
        self.layers: list[LayerCode] = []
        facts = Facts.of(model_facts("nna-vbd"))
        self.costs = iter(costs(network, facts))  # in the order of records

    def run(self) -> Stream:
        maps = [_map(self.network.maps[index], where) for index, where in self.placement.places.items()]
        records = [self.record(operation) for operation in self.network.operations if not isinstance(operation, View)]
        body = b"".join([*maps, *records])
        header = struct.pack("<4sIII", MAGIC, len(body) // 4 + 4, len(maps), len(records))
        return Stream(header + body, self.weights.data(), self.placement.scratch_bytes, tuple(self.layers))

    def record(self, operation: Operation) -> bytes:
        before = len(self.weights)
        name, words = self.fields(operation)
        bits, size, entropy = 0, 0, 0.0
        if isinstance(operation, Convolution):
            bits, size, entropy = operation.bits, operation.weights.size, entropy_bits(operation.weights)
        weight_bytes = operation.weight_bytes if isinstance(operation, Convolution) else 0
        depths = [self.network.maps[index].affine.bits for index in (*operation.sources, operation.target)]
        rest = len(self.weights) - before - weight_bytes
        cost, shape = next(self.costs), (max(depths[:-1]), bits, depths[-1])
        self.layers.append(
            LayerCode(operation.layer, name, *shape, weight_bytes, rest, size, entropy / 8, cost, cost.utilisation)
        )
        return struct.pack(f"<{len(words) + 1}I", CODES[name] | len(words) + 1 << 16, *words)

    def fields(self, operation: Operation) -> tuple[str, list[int]]:
        """An operation's name, and the words after its first."""
        sources, target = [self.numbers[index] for index in operation.sources], self.numbers[operation.target]
        if isinstance(operation, Convolution):
            name = "DEPTHWISE" if operation.depthwise else "CONVOLUTION"
            return name, [*sources, target, *_window(operation.window), *self.convolution(operation)]
        if isinstance(operation, Pooling):
            return "MAXIMUM" if operation.kind == "MAX" else "AVERAGE", [*sources, target, *_window(operation.window)]
        if isinstance(operation, Lookup):
            bits = self.network.maps[operation.target].affine.bits
            return "TABLE", [*sources, target, self.weights.integers(operation.table, bits)]
        if isinstance(operation, Concat):
            return "CONCAT", [target, len(sources), *sources]
        if isinstance(operation, Resize):
            return "RESIZE", [*sources, target, *operation.factors]
        if isinstance(operation, View):
            raise AssertionError("views need no operation")
        output = output_of(self.network, operation)
        scale = [int(output.factor[0]), int(output.shift[0])]
        if operation.kind == "MUL":
            return "MULTIPLY", [*sources, target, *scale, *_output(output)]
        plan = sum_of(self.network, operation)
        first, second = plan.factors
        name = "ADD" if operation.kind == "ADD" else "SUBTRACT"
        return name, [*sources, target, plan.spare, *first, *second, *scale, *_output(output)]

    def convolution(self, operation: Convolution) -> list[int]:
        weights = [self.weights.integers(operation.weights, operation.bits), operation.bits]
        biases, scales = self.weights.biases(operation.bias), self.weights.scales(operation.output)
        return [*weights, *biases, *scales, *_output(operation.output)]


def _map(source: Map, where: Place) -> bytes:
    affine = source.affine
    flags = (_SIGNED if affine.dtype.startswith("int") else 0) | (_PACKED if where.packed else 0)
    kind = where.region | affine.bits << 8 | flags << 16
    return struct.pack("<IiIIII", kind, affine.zero, *source.shape, where.address)


def _window(window: Window) -> list[int]:
    top, left, bottom, right = window.pads
    pairs = (window.kernel, window.strides, window.dilations, (top, left), (bottom, right))
    return [down | across << 16 for down, across in pairs]


def _output(output: Requantize) -> list[int]:
    return [output.rounding.value, output.low & 0xFFFFFFFF, output.high & 0xFFFFFFFF]
