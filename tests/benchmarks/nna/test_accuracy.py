"""The table of accuracy on NNAs: what counts as lost. ``python -m benchmarks.nna.accuracy`` measures (minutes)."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from benchmarks.evaluation import Figures
from benchmarks.nna.accuracy import Row, table


def row(recipe: str, score: float, other: float = 0.9) -> Row:
    before, after = Figures({"a": 0.9, "b": 0.9}, None, 0.0), Figures({"a": score, "b": other}, 0.75, 0.1)
    return Row("net", recipe, "nna-vbd", 5, 1, 3000, 4000, 6.0, 8.0, before, after, 1.0)


@pytest.mark.parametrize(
    ("recipe", "score", "missed"),
    [("int8", 0.896, False), ("int8", 0.894, True), ("mixed6", 0.891, False), ("mixed6", 0.889, True)],
)
def test_int8_may_lose_half_a_point_and_mixed_depths_one(recipe: str, score: float, missed: bool) -> None:
    assert row(recipe, score).missed is missed
    assert row(recipe, 1.0, score).missed is missed  # the worst of the metrics counts


def test_the_table_says_that_it_is_simulated() -> None:
    out = io.StringIO()
    Console(file=out, width=160).print(table([row("int8", 0.5)]))
    text = out.getvalue()
    for part in ("simulated", "90.0%", "50.0%", "90.0%  missed", "75.0%", "6.00", "5, 1"):
        assert part in text
