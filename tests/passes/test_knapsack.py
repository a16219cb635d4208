"""The knapsack against trying everything, which is exact; sizes are integers, so no tolerance but that of sums."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tilewright.passes.knapsack import Items, best, pareto

OPTION = st.tuples(st.integers(0, 40), st.floats(0, 1))
ITEMS = st.lists(st.lists(OPTION, min_size=1, max_size=4), max_size=5)


def everything(items: Items) -> list[tuple[float, float]]:
    combinations = itertools.product(*items)
    return [(sum(size for size, _ in chosen), sum(error for _, error in chosen)) for chosen in combinations]


def total(items: Items, choice: tuple[int, ...]) -> tuple[float, float]:
    chosen = [item[index] for item, index in zip(items, choice, strict=True)]
    return sum(size for size, _ in chosen), sum(error for _, error in chosen)


@given(ITEMS, st.integers(0, 150))
@settings(max_examples=200, deadline=None)
def test_the_least_error_within_a_limit(items: Items, limit: int) -> None:
    fitting = [error for size, error in everything(items) if size <= limit]
    found = best(items, limit)
    if not fitting:
        assert found is None
        return
    assert found is not None
    size, error = total(items, found.choice)
    assert (size, error) == (found.size, pytest.approx(found.error, abs=1e-12))
    assert size <= limit
    assert error == pytest.approx(min(fitting), abs=1e-12)


@given(ITEMS)
@settings(max_examples=100, deadline=None)
def test_the_front_is_what_nothing_dominates(items: Items) -> None:
    points = pareto(items)
    sums = everything(items)
    for point in points:
        assert point.error == pytest.approx(min(error for size, error in sums if size <= point.size), abs=1e-12)
    assert points[0].size == min(size for size, _ in sums)
    assert points[-1].error == pytest.approx(min(error for _, error in sums), abs=1e-12)
    assert all(a.size < b.size and a.error > b.error for a, b in itertools.pairwise(points))


@given(ITEMS, st.integers(0, 150), st.integers(2, 6))
@settings(max_examples=100, deadline=None)
def test_a_thinned_front_keeps_the_limit_and_leaves_no_improvement_by_one_item(
    items: Items, limit: int, points: int
) -> None:
    found = best(items, limit, points)
    assert (found is None) == (not any(size <= limit for size, _ in everything(items)))
    if found is None:
        return
    size, error = total(items, found.choice)
    assert size <= limit
    for at, item in enumerate(items):
        for index in range(len(item)):
            changed = total(items, (*found.choice[:at], index, *found.choice[at + 1 :]))
            assert changed[0] > limit or changed[1] >= error - 1e-12
    assert len(pareto(items, points=points)) <= points


def test_infinite_errors_are_never_chosen() -> None:
    items = [[(1.0, math.inf), (5.0, 1.0)], [(2.0, 3.0), (4.0, math.inf)]]
    assert [point.choice for point in pareto(items)] == [(1, 0)]
    assert best(items, 6) is None
    with pytest.raises(ValueError, match="no option"):
        pareto([[(1.0, math.inf)]])
    with pytest.raises(ValueError, match="no option"):
        pareto([[]])
