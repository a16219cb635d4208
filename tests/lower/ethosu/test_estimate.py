"""Estimates of streams. Reference: what Vela says of its own streams; else, what can be counted by hand."""

from __future__ import annotations

import dataclasses

import pytest

from tilewright.lower.ethosu import compile_network
from tilewright.lower.ethosu.estimate import Memories, Model, estimate
from tilewright.lower.ethosu.jobs import SHRAM, Kernel, Transfer, read

from .networks import Builder, residual

pytest.importorskip("ethosu.vela", reason="no Vela: pip install 'tilewright[nna]'")


def test_the_layers_add_up_to_the_stream() -> None:
    stream = compile_network(residual(), "ethos-u55-256")
    costs = estimate(read(stream.payload), "ethos-u55-256")
    assert [layer.estimate for layer in stream.layers] == costs
    assert all(cost.cycles >= 0 and cost.busy > 0 for cost in costs)
    assert sum(cost.cycles for cost in costs) >= max(cost.busy for cost in costs)


def test_products_and_traffic_are_counted() -> None:
    """A 1 x 1 convolution whose input fits into one block: everything is read and written once."""
    b = Builder()
    x = b.map(8, 8, 32)
    stream = compile_network(b.network([x], [b.conv(x, 16, 1)]), "ethos-u55-256")
    (layer,) = stream.layers
    assert layer.estimate.macs == 8 * 8 * 32 * 16
    assert layer.estimate.sram == 8 * 8 * 32 + 8 * 8 * 16  # U55 has activations in SRAM
    assert layer.estimate.external == layer.weight_bytes + layer.scale_bytes  # and weights in flash
    assert layer.utilisation == layer.estimate.macs / (256 * layer.estimate.cycles)


def test_memory_decides() -> None:
    """U65's maps lie in DRAM unless the stream says that they are in fast memory."""
    b = Builder()
    x = b.map(16, 16, 32)
    jobs = read(compile_network(b.network([x], [b.conv(x, 32, 3)]), "ethos-u65-256").payload)
    (outside,) = estimate(jobs, "ethos-u65-256")
    (inside,) = estimate(jobs, "ethos-u65-256", Memories(fast=frozenset({1, 2, 3})))
    assert outside.sram == 0
    assert inside.sram > 0
    assert inside.external < outside.external
    assert inside.sram + inside.external == outside.external


def test_transfers() -> None:
    model = Model("ethos-u55-128", Memories())
    cycles, cost = model.transfer(Transfer(0, 1, 4096))
    assert cycles >= 4096  # flash: one byte a cycle (vela.ini: 8 bytes at 1/8 of the clock)
    assert (cost.external, cost.sram) == (4096, 4096)
    assert model.transfer(Transfer(0, SHRAM, 256))[1].sram == 0


def test_a_block_that_does_not_fit() -> None:
    b = Builder()
    x = b.map(64, 64, 64)
    jobs = read(compile_network(b.network([x], [b.conv(x, 128, 3)]), "ethos-u55-128").payload)
    (kernel,) = (job for job in jobs if isinstance(job, Kernel))
    with pytest.raises(ValueError, match="does not fit"):
        Model("ethos-u55-128", Memories()).kernel(dataclasses.replace(kernel, block=(32, 64, 128)))
