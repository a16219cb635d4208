"""Streams of nna-vbd on their functional model, against the integer reference. Tolerance 0: both are integer."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.lower.simulated import execute
from tilewright.errors import UnsupportedError
from tilewright.integer.depths import DEPTHS, packed_bytes
from tilewright.integer.elementwise import Affine
from tilewright.integer.network import Convolution, Lookup, Network, View, run
from tilewright.integer.rounding import Requantize
from tilewright.integer.tables import KNOTS
from tilewright.lower.vbd import Stream, compile_network
from tilewright.lower.vbd.checks import most_sums
from tilewright.lower.vbd.weights import SCALE_BYTES, bias_bytes
from tilewright.plan import ARENA_ALIGNMENT

from .networks import Builder, every_operation

SEEDS = st.integers(0, 2**32 - 1)


def check(b: Builder, network: Network) -> Stream:
    stream = compile_network(network)
    inputs = b.inputs(network)
    for want, got in zip(run(network, inputs), execute(stream, network, inputs), strict=True):
        np.testing.assert_array_equal(got, want)
    return stream


@given(SEEDS)
@settings(deadline=None, max_examples=40)
def test_every_operation(seed: int) -> None:
    b, network = every_operation(seed)
    stream = check(b, network)
    assert len(stream.layers) == sum(not isinstance(layer, View) for layer in network.operations)


@given(
    SEEDS, st.sampled_from(DEPTHS), st.sampled_from(DEPTHS),
    st.tuples(st.integers(1, 9), st.integers(1, 9)), st.integers(1, 40), st.integers(1, 20),
    st.tuples(st.integers(1, 4), st.integers(1, 4)), st.tuples(st.integers(1, 3), st.integers(1, 3)),
    st.tuples(st.integers(1, 3), st.integers(1, 3)), st.booleans(),
)  # fmt: skip
@settings(deadline=None, max_examples=150)
def test_convolutions(
    seed: int, activation: int, weight: int, size: tuple[int, int], depth: int, channels: int,
    kernel: tuple[int, int], strides: tuple[int, int], dilations: tuple[int, int], depthwise: bool,
) -> None:  # fmt: skip
    """Every pair of depths, and every geometry."""
    b = Builder(seed)
    x = b.map(*size, depth, bits=activation)
    y = b.conv(x, depth if depthwise else channels, kernel, strides, dilations, depthwise, bits=weight)
    check(b, b.network([x], [y]))


@given(SEEDS, st.sampled_from(["ADD", "SUB", "MUL"]), st.lists(st.booleans(), min_size=6, max_size=6))
@settings(deadline=None, max_examples=60)
def test_operands_broadcast(seed: int, kind: str, ones: list[bool]) -> None:
    b = Builder(seed)
    x, y = (b.map(*(1 if one else size for one, size in zip(half, (3, 4, 5), strict=True))) for half in
            (ones[:3], ones[3:]))  # fmt: skip
    check(b, b.network([x, y], [b.binary(kind, x, y)]))


def test_sums_at_the_edge_of_48_bits() -> None:
    """The widest depths with the greatest integers, bias included; one more would be refused."""
    b = Builder(1)
    x = b.map(1, 1, 4, affine=Affine(1.0, 0, "uint16"))
    b.conv(x, 1, bits=16)
    layer = b.operations[0]
    assert isinstance(layer, Convolution)
    weights = np.full((1, 1, 1, 4), -(1 << 15))
    room = (1 << 47) - 1 - 4 * (1 << 15) * 65535
    after = b.maps[1].affine
    output = Requantize.of((1 << after.bits) / 2**48, after.zero, after.dtype, bits=after.bits)
    edge = dataclasses.replace(layer, weights=weights, bias=np.array([-room]), output=output)
    network = dataclasses.replace(b.network([x], [1]), operations=(edge,))
    assert most_sums(b.maps[0], edge) == (1 << 47) - 1
    full = [np.full((1, 1, 4), 65535, np.uint16)]
    np.testing.assert_array_equal(execute(compile_network(network), network, full)[0], run(network, full)[0])
    beyond = dataclasses.replace(edge, bias=np.array([-room - 1]))
    with pytest.raises(UnsupportedError, match="'conv0' has sums that may leave 48 bits"):
        compile_network(dataclasses.replace(network, operations=(beyond,)))


def test_hosts_integers_saturate_at_the_depth() -> None:
    b = Builder(2)
    x = b.map(1, 1, 64, affine=Affine(1.0, 3, "int8", 5))
    network = b.network([x], [b.conv(x, 4)])
    wide = [np.arange(-128, 128, 4).astype(np.int8)]
    (want,) = run(network, wide)
    np.testing.assert_array_equal(execute(compile_network(network), network, wide)[0], want)
    (clipped,) = run(network, [np.clip(wide[0], -16, 15)])
    np.testing.assert_array_equal(want, clipped)


@pytest.mark.parametrize("bits", DEPTHS)
def test_sizes_are_those_of_the_depth(bits: int) -> None:
    """Nothing is padded: weights, tables and maps take their depth times their count, rounded up to a byte."""
    b = Builder(bits)
    x = b.map(5, 7, 3, bits=bits)
    y = b.conv(b.conv(x, 11, (3, 3), bits=bits), 3, bits=bits)
    network = b.network([x], [b.lookup(y)])
    stream = compile_network(network)
    total = 0
    for layer, code in zip(network.operations, stream.layers, strict=True):
        if isinstance(layer, Convolution):
            assert code.weight_bytes == packed_bytes(layer.weights.size, bits) == layer.weight_bytes
            scales = bias_bytes(layer.bias) * len(layer.bias) + SCALE_BYTES * len(layer.output.factor)
            assert code.scale_bytes == scales
        elif isinstance(layer, Lookup):
            depths = [network.maps[index].affine.bits for index in (layer.source, layer.target)]
            assert code.scale_bytes == packed_bytes(1 << depths[0] if depths[0] <= 8 else KNOTS, depths[1])
        total += code.weight_bytes + code.scale_bytes
    assert total == len(stream.weights)
    inner = [network.maps[layer.target].packed_bytes for layer in network.operations[:2]]
    assert stream.scratch_bytes == sum(-(-nbytes // ARENA_ALIGNMENT) * ARENA_ALIGNMENT for nbytes in inner)


def test_what_the_format_does_not_hold_is_listed_at_once() -> None:
    b = Builder(3)
    x = b.map(1, 1, 2, affine=Affine(1.0, 99, "uint8", 4))
    y = b.map(1, 1, 2, affine=Affine(1.0, 0, "uint16", 11))
    z = b.binary("MUL", x, y)
    tiny = dataclasses.replace(b.maps[z].affine, scale=1e-9)
    b.maps[z] = dataclasses.replace(b.maps[z], affine=tiny)
    with pytest.raises(UnsupportedError) as caught:
        compile_network(b.network([x, y], [z]))
    text = str(caught.value)
    for reason in ("'m0' has a zero point of 99", "'m1' has 11 bits", "'MUL0' scales its results up"):
        assert reason in text


def test_too_many_outputs_are_refused() -> None:
    b = Builder(5)
    x = b.map(4, 4, 8)
    with pytest.raises(UnsupportedError, match="cannot take"):
        compile_network(b.network([x], [b.conv(x, 8) for _ in range(6)]))
