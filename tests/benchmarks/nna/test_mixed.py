"""The bar of mixed depths: on traffic and on every figure of accuracy, and none without figures."""

from __future__ import annotations

import dataclasses

import pytest

pytest.importorskip("ethosu.vela", reason="no Vela: pip install 'tilewright[nna]'")

from benchmarks.evaluation import Figures
from benchmarks.nna.mixed import Row, bits, holds, table
from benchmarks.nna.shapes import at_depth, efficientnet_lite0
from tilewright.lower.vbd.cost import Total


def row(form: str, score: float, traffic: int) -> Row:
    return Row("net", form, Figures({"top-1": score}, 1.0, 0.0), Total(1, 1.0, 1, traffic, 1, 1.0))


def test_the_bar() -> None:
    rows = [dataclasses.replace(row("float", 0.9, 0), cost=None), row("int8", 0.9, 1000), row("mixed", 0.89, 600)]
    assert holds(rows)
    assert not holds([*rows[:2], row("mixed", 0.88, 600)])
    assert not holds([*rows[:2], row("mixed", 0.9, 601)])
    assert not holds([*rows[:2], Row("net", "mixed", None, problem="cannot be met")])
    assert len(table(rows).rows) == 3


def test_bits_on_average() -> None:
    weights, activations = bits([at_depth(efficientnet_lite0(), 5, 6)])
    assert weights == 5
    assert 6 < activations < 6.2  # inputs and outputs keep 8
