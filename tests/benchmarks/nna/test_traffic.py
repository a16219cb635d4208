"""The parts of the traffic add up to what the model says of the whole."""

from __future__ import annotations

import pytest

pytest.importorskip("ethosu.vela", reason="no Vela: pip install 'tilewright[nna]'")

from benchmarks.nna.shapes import at_depth, efficientnet_lite0
from benchmarks.nna.traffic import composition, table
from tilewright.lower.vbd.cost import Facts, costs, total
from tilewright.targets import model_facts


def test_parts_add_up() -> None:
    facts = Facts.of(model_facts("nna-vbd"))
    forms = {f"{bits} bits": composition([at_depth(efficientnet_lite0(), bits, bits)], facts) for bits in (8, 4)}
    for (form, traffic), bits in zip(forms.items(), (8, 4), strict=True):
        network = at_depth(efficientnet_lite0(), bits, bits)
        assert traffic.total == total(costs(network, facts), facts).external, form
        assert traffic.outputs == sum(network.maps[index].nbytes for index in network.outputs) >= 1000
        assert traffic.inputs == 224 * 224 * 3
    assert forms["4 bits"].weights * 2 == forms["8 bits"].weights
    assert len(table("net", forms).rows) == 2
