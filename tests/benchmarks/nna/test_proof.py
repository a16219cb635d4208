"""The interpreter on Vela's streams against LiteRT's reference kernels. Tolerance 0: every output element is equal.

``python -m benchmarks.nna`` runs all networks on all accelerators, and Vela's legacy compiler too.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("ethosu.vela", reason="no Vela: pip install 'tilewright[nna]'")
pytest.importorskip("ai_edge_litert", reason="no LiteRT: pip install 'tilewright[nna]'")

from benchmarks.nna.networks import NETWORKS
from benchmarks.nna.proof import prove
from benchmarks.nna.vela import ACCELERATORS, compile_model

# The least and the greatest accelerator in turns; three networks on all.
CASES = [(network, ACCELERATORS[3 * (number % 2)]) for number, network in enumerate(NETWORKS)]
CASES += [(network, accelerator) for network in ("mobile", "wide", "sixteen") for accelerator in ACCELERATORS]
CASES = list(dict.fromkeys(CASES))


@pytest.mark.parametrize(("network", "accelerator"), CASES)
def test_networks_equal_the_reference(network: str, accelerator: str, tmp_path: Path) -> None:
    result = prove(network, accelerator, "regor", tmp_path)
    assert result.differing == 0
    assert result.distinct > 30  # outputs that are all alike would prove nothing


@pytest.mark.parametrize("network", ["mobile", "tall", "sixteen"])
def test_so_do_those_of_the_legacy_compiler(network: str, tmp_path: Path) -> None:
    assert prove(network, "ethos-u55-256", "legacy", tmp_path).differing == 0


def test_other_weights_give_other_outputs(tmp_path: Path) -> None:
    """The comparison can fail: wrong biases show."""
    compiled = compile_model(NETWORKS["wide"](), "ethos-u55-128", "regor", tmp_path)
    x = [np.full((1, 6, 6, 64), 5, np.int8)]
    (before,) = compiled.run(x)
    weights = compiled.weights.copy()
    weights[2:160:10] ^= 1  # of the first layer's first 16 channels, which the weights start with
    (after,) = dataclasses.replace(compiled, weights=weights).run(x)
    assert (before != after).any()
