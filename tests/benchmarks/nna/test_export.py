"""Integer networks exported to TFLite: LiteRT's reference kernels compute what our reference does."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("ethosu.vela", reason="no Vela: pip install 'tilewright[nna]'")
pytest.importorskip("ai_edge_litert", reason="no LiteRT: pip install 'tilewright[nna]'")

from benchmarks.nna.compare import compare
from benchmarks.nna.export import to_tflite
from benchmarks.nna.litert import Reference
from benchmarks.nna.networks import NETWORKS
from benchmarks.nna.vela import compile_model
from tests.lower.ethosu.networks import Builder
from tilewright.integer.network import Network, run
from tilewright.lower.ethosu.estimate import Memories, estimate
from tilewright.lower.ethosu.jobs import read


def plain(dtype: str = "int8") -> Network:
    """Every operation, no accumulators as results, no clamps (TFLite has names for some only)."""
    b = Builder(2, dtype)
    x = b.map(12, 11, 16)
    y = b.conv(b.conv(x, 24, 3), 24, 3, stride=2, depthwise=True)
    y = b.binary("ADD", y, b.conv(y, 24, 1))
    y = b.concat(b.pool(b.pool(y, "MAX", 2, 2), "AVERAGE", 3, same=True), b.pool(y, "MAX", 2, 2))
    y = b.resize(y, 2)
    return b.network([x], [b.conv(b.flatten(y), 10, 1)])


@pytest.mark.parametrize("dtype", ["int8", "int16"])
def test_litert_computes_the_same(dtype: str) -> None:
    """Scales go through float32, which moves factors by up to 2^-24: an element in some 60,000 may round otherwise."""
    network, info = plain(dtype), np.iinfo(dtype)
    reference = Reference(to_tflite(network))
    for seed in range(20):
        x = np.random.default_rng(seed).integers(info.min, info.max + 1, (12, 11, 16)).astype(dtype)
        (want,) = run(network, [x])
        (got,) = reference.run([x[None]])
        np.testing.assert_array_equal(got[0], want)


def test_comparison(tmp_path: Path) -> None:
    row = compare(plain(), "ethos-u55-128", tmp_path)
    assert row.holds
    assert row.vela_cycles > 0
    for worse in (
        dataclasses.replace(row.ours, flash=2 * row.vela.flash),
        dataclasses.replace(row.ours, cost=dataclasses.replace(row.ours.cost, cycles=2 * row.vela.cost.cycles)),
    ):
        assert not dataclasses.replace(row, ours=worse).holds


@pytest.mark.parametrize("accelerator", ["ethos-u55-128", "ethos-u65-512"])
@pytest.mark.parametrize("network", ["mobile", "wide"])
def test_estimates_are_near_velas(network: str, accelerator: str, tmp_path: Path) -> None:
    """Vela estimates its own streams with a model of its own, which for networks of convolutions says much the same:
    by `python -m benchmarks.nna.estimates` these two differ by up to 8 %."""
    compiled = compile_model(NETWORKS[network](), accelerator, "regor", tmp_path)
    memories = Memories(frozenset({compiled.weight_region}), compiled.fast)
    cycles = sum(cost.cycles for cost in estimate(read(compiled.payload), accelerator, memories))
    assert cycles == pytest.approx(compiled.cycles, rel=0.1)
