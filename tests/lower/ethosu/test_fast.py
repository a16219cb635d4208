"""Feature maps in fast memory."""

from __future__ import annotations

import numpy as np
import pytest

from tests.lower.simulated import execute
from tilewright.integer.network import run
from tilewright.lower.arena import Lifetime
from tilewright.lower.ethosu import compile_network, stream
from tilewright.lower.ethosu.fast import CAPACITY, choose_fast
from tilewright.lower.ethosu.memory import FAST, SCRATCH, place, place_best

from .networks import Builder, joined


def test_the_most_traffic_comes_first() -> None:
    needs = {1: Lifetime(100, 0, 1), 2: Lifetime(160, 1, 2), 3: Lifetime(90, 2, 3), 4: Lifetime(500, 4, 5)}
    wanted = {1: 300, 2: 200, 3: 150, 4: 900}
    assert choose_fast(wanted, needs, 256) == {1, 3}  # 4 does not fit at all, nor 2 beside 1
    assert choose_fast(wanted, needs, 512) == {1, 2, 3, 4}
    assert choose_fast({}, {}, 512) == set()


def test_slices_go_where_the_whole_is() -> None:
    network = joined("int8", 16)
    parts = place(network, (), place_best(network, 4096))
    assert parts.fast_bytes <= 4096
    for operation in network.operations:
        regions = {parts.places[index].region for index in (*operation.sources, operation.target)}
        assert regions <= {SCRATCH, FAST, 3, 4, 5, 6}
    whole = place(network, (), place_best(network, CAPACITY))
    assert whole.scratch_bytes == 0
    assert place(network).fast_bytes == 0


@pytest.mark.parametrize("accelerator", ["ethos-u65-256", "ethos-u65-512"])
def test_maps_in_both_memories(accelerator: str) -> None:
    """Some fit and some do not; results stay the same to the bit, and less goes through DRAM than maps alone take."""
    pytest.importorskip("ethosu.vela", reason="no Vela: pip install 'tilewright[nna]'")
    b = Builder(8)
    x = b.map(40, 40, 16)
    y = b.conv(b.conv(x, 320, 1), 16, 3, stride=2)  # 512,000 bytes between them
    network = b.network([x], [b.conv(b.binary("ADD", b.conv(y, 16, 3), y), 9, 1)])
    stream = compile_network(network, accelerator)
    scratch, fast = stream.workspaces
    assert scratch == 40 * 40 * 320
    assert 0 < fast <= CAPACITY
    data = np.random.default_rng(2).integers(0, 256, (40, 40, 16)).astype(np.uint8)
    for want, got in zip(run(network, [data]), execute(stream, network, [data]), strict=True):
        np.testing.assert_array_equal(got, want)
    # The map between both convolutions, which does not fit, the input, the output and the weights.
    least = 2 * scratch + 40 * 40 * 16 + 20 * 20 * 9
    assert least < sum(layer.estimate.external for layer in stream.layers) < 1.5 * least + len(stream.weights)
    assert [layer.estimate.sram > 0 for layer in stream.layers][2:] == [True] * 3


def test_copies_that_turn_out_too_long_are_left_out() -> None:
    """Room for copies is planned by an estimate of their size; what does not fit after all stays where it was."""
    pytest.importorskip("ethosu.vela", reason="no Vela: pip install 'tilewright[nna]'")
    b = Builder(9)
    x = y = b.map(10, 10, 64)
    for _ in range(4):
        y = b.conv(y, 64, 1)
    emitter = stream._Emitter(b.network([x], [y]), "ethos-u65-256")
    assert emitter.shortened((0, 1, 1, 0), (0, 100_000, 200_000, 0)) == (0, 1, 1, 0)
    assert emitter.shortened((0, 1, 1, 0), (0, 300_000, 200_000, 0)) == (0, 0, 1, 0)
