"""Budgets of traffic and time: what the compressed network takes is asked of the model anew, from its own integers."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

from tests.passes.test_coupling import network
from tests.test_compression import samples
from tilewright import choice_modelled, compression
from tilewright.errors import RecipeError
from tilewright.lower.vbd.cost import Facts, Total, costs, total
from tilewright.modelled import integer_parts
from tilewright.report_html import write
from tilewright.targets import model_facts

SMALL = {**model_facts("nna-vbd"), "on_chip_bytes": 0}  # so that depths of activations matter


def compressed(**budget: Any) -> compression.Compression:
    recipe = {
        "quantize": {"activations": 8, "method": "minmax"},
        "allocate": {"samples": 2, "candidates": ["int4", "int8"], **budget},
    }
    return compression.run(network(), recipe, calibration=samples())


def taken(made: compression.Compression, facts: Facts) -> list[Total]:
    return [total(costs(part, facts), facts) for part in integer_parts(made.model)]


@pytest.fixture
def facts(monkeypatch: pytest.MonkeyPatch) -> Facts:
    monkeypatch.setattr(choice_modelled, "model_facts", lambda name: SMALL)
    return Facts.of(SMALL)


def least(**budget: Any) -> float:
    with pytest.raises(RecipeError, match="cannot be met") as caught:
        compressed(**budget)
    found = re.search(r"the least that the candidates allow is ([\d.e-]+)", str(caught.value))
    assert found
    return float(found[1])


def test_traffic(facts: Facts) -> None:
    most = compressed(traffic_mb=100.0)
    low, high = least(traffic_mb=1e-6), sum(part.external for part in taken(most, facts)) / 1e6
    assert low < 0.9 * high  # inputs and outputs are bytes at every depth
    budget = low + 0.4 * (high - low)
    made = compressed(traffic_mb=budget)
    assert 0.8e6 * budget < sum(part.external for part in taken(made, facts)) <= 1e6 * budget
    depths = {layer.activations for layer in made.report.layers} | {int(row.codec[3]) for row in made.report.layers}
    assert len(depths) > 1
    (chosen,) = [point for point in made.report.front if point.chosen]
    (before,) = [point for point in most.report.front if point.chosen]
    assert chosen.bytes <= 1e6 * budget + 1
    assert chosen.error > before.error
    assert made.report.front_axis == "traffic"
    # With room on the chip the same network takes less.
    assert sum(part.external for part in taken(made, replace(facts, on_chip_bytes=1 << 20))) < 0.95e6 * budget


def test_time(facts: Facts) -> None:
    low = least(milliseconds=1e-9)
    budget = 1.2 * low
    made = compressed(milliseconds=budget)
    assert sum(part.milliseconds for part in taken(made, facts)) <= budget * (1 + 1e-9)
    assert made.report.front_axis == "time"
    page = write(made.report)
    assert "time of an inference" in page
    assert "nothing was measured there" in page


def test_depths_of_activations_can_be_left_out(facts: Facts) -> None:
    made = compressed(traffic_mb=100.0, activations=[8])
    assert {layer.activations for layer in made.report.layers} == {8}
    assert least(traffic_mb=1e-6, activations=[8]) > least(traffic_mb=1e-6)  # most maps of this network go in or out
