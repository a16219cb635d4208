"""The cost model of nna-vbd, against sums done by hand, and at the published check points."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks.nna.checkpoints import SPEED, TRAFFIC, modelled
from benchmarks.nna.shapes import at_depth, efficientnet_lite0
from tests.lower.ethosu.networks import Builder
from tilewright.errors import UsageError
from tilewright.integer.network import Convolution, Network
from tilewright.lower.vbd import compile_network
from tilewright.lower.vbd.cost import Facts, costs, off_chip, total
from tilewright.targets import model_facts


@pytest.fixture
def facts() -> Facts:
    return Facts.of(model_facts("nna-vbd"))


def chain() -> Network:
    b = Builder(0, "int8")
    x = b.map(8, 8, 16)
    y = b.conv(x, 32, 3)
    z = b.conv(y, 32, 1)
    return b.network([x], [b.conv(b.binary("ADD", z, y), 8, 1)])


def test_a_layer_by_hand(facts: Facts) -> None:
    facts = replace(facts, on_chip_bytes=1 << 20)
    first, second, joined, last = costs(chain(), facts)
    assert first.macs == 8 * 8 * 32 * 9 * 16
    # 2048 / 8 / 16 = 16 elements of each of 8 channels at a time, 16 products of each in a clock.
    assert first.busy == (32 // 8) * (64 // 16) * (9 * 16 // 16)
    stream = {layer.layer: layer for layer in compile_network(chain()).layers}
    for cost in (first, second, last):
        assert cost.weight_bytes == stream[cost.layer].weight_bytes + stream[cost.layer].scale_bytes
    assert first.external == first.weight_bytes + 8 * 8 * 16
    assert second.external == second.weight_bytes  # its maps stay on the chip
    assert (joined.external, joined.macs, joined.utilisation) == (0, 0, 0)
    assert joined.sram == 3 * 8 * 8 * 32
    assert last.external == last.weight_bytes + 8 * 8 * 8
    assert second.energy_uj * 1e6 == pytest.approx(
        second.macs * (0.2 + 0.1) + second.sram * 12.5 + second.external * 162.5
    )
    for cost in (first, second, last):
        assert cost.cycles == max(cost.busy, -(-cost.external // 8), -(-cost.sram // 256))
        assert cost.utilisation == cost.macs / (2048 * cost.cycles)


def test_deep_integers_take_twice_the_time(facts: Facts) -> None:
    facts = replace(facts, dram_bytes_per_clock=1e9)
    shallow, deep = (costs(at_depth(chain(), 8, bits), facts)[1] for bits in (8, 10))
    assert deep.busy == 2 * shallow.busy
    assert costs(at_depth(chain(), 16, 4), facts)[1].busy == 2 * shallow.busy


def test_what_fits_stays_on_the_chip() -> None:
    network = chain()
    assert off_chip(network, 1 << 20) == {*network.inputs, *network.outputs}
    assert off_chip(network, 0) == set(range(len(network.maps)))
    # Of y (2048 bytes, two readers), z and their sum (2048 each) two live at a time, and there is room for one.
    y, z, both = 1, 2, 3
    assert {y, z, both} - off_chip(network, 2048) in ({y}, {z, both})
    assert len({y, z, both} - off_chip(network, 4096)) >= 2
    half = at_depth(network, 8, 4)
    assert off_chip(half, 3072) == {*network.inputs, *network.outputs}


def test_views_take_nothing(facts: Facts) -> None:
    b = Builder(0, "int8")
    x = b.map(4, 4, 8)
    network = b.network([x], [b.conv(b.flatten(b.conv(x, 8, 1)), 5, 1)])
    assert len(costs(network, facts)) == 2


def test_the_published_check_points(facts: Facts) -> None:
    """Two of the parameters were chosen so; 0.05 is what other sensible choices of them move."""
    network = efficientnet_lite0()
    eight, four = (modelled(network, facts, bits, bits) for bits in (8, 4))
    assert eight.cycles / four.cycles == pytest.approx(SPEED, abs=0.05)
    assert four.external / eight.external - 1 == pytest.approx(TRAFFIC, abs=0.05)


def test_totals(facts: Facts) -> None:
    layers = costs(chain(), facts)
    whole = total(layers, facts)
    assert whole.cycles == sum(layer.cycles for layer in layers)
    assert whole.milliseconds == pytest.approx(whole.cycles / 1e6)  # 1 GHz
    assert whole.external == sum(layer.external for layer in layers)


def test_no_model() -> None:
    assert model_facts("nna-vbd-2048") == model_facts("nna-vbd")
    with pytest.raises(UsageError, match=r"no model of what 'cpu' costs; there are models of: nna-vbd"):
        model_facts("cpu")


def test_shapes_are_those_of_the_zoo() -> None:
    """docs/compression.md counts 18,524,008 bytes: weights and biases as float32, and two limits of Clip."""
    layers = [layer for layer in efficientnet_lite0().operations if isinstance(layer, Convolution)]
    numbers = sum(layer.weights.size + layer.bias.size for layer in layers)
    assert 4 * (numbers + 2) == 18_524_008
