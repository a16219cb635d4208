"""Copies of weights: those that pay, as early as pays."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from tilewright.lower.ethosu.prefetch import Options, choose_leads, issued
from tilewright.lower.ethosu.timeline import Step, kernel_ends


def always(leads: Sequence[int]) -> bool:
    return True


def test_a_copy_that_hides_behind_the_kernel_before() -> None:
    options = [Options(100), Options(80, 20, 60)]
    assert choose_leads(options, 1, always) == (0, 1)
    assert choose_leads(options, 1, lambda leads: not any(leads)) == (0, 0)


def test_a_copy_that_costs_more_than_it_saves() -> None:
    assert choose_leads([Options(10), Options(80, 20, 200)], 1, always) == (0, 0)


def test_a_copy_that_saves_traffic_alone() -> None:
    """It is worth some cycles."""
    assert choose_leads([Options(100), Options(80, 80, 60, saved=640)], 1, always) == (0, 1)
    assert choose_leads([Options(100), Options(80, 85, 60, saved=640)], 1, always) == (0, 1)
    assert choose_leads([Options(100), Options(80, 95, 60, saved=640)], 1, always) == (0, 0)


def test_a_long_copy_begins_early() -> None:
    """Issued while the second kernel waits in the queue behind the first, it runs beside both."""
    assert choose_leads([Options(100), Options(100), Options(500, 20, 180)], 1, always) == (0, 0, 1)
    # Behind a third kernel the queue is full until the first ends: two kernels ahead is better.
    assert choose_leads([Options(100), Options(10), Options(10), Options(500, 20, 100)], 1, always) == (0, 0, 0, 2)


@given(st.lists(st.tuples(st.integers(1, 99), st.integers(1, 99), st.integers(1, 99)), max_size=7), st.integers(1, 2))
def test_never_worse_than_without(layers: list[tuple[int, int, int]], most: int) -> None:
    options = [Options(direct, copied, transfer) for direct, copied, transfer in layers]
    leads = choose_leads(options, most, always)
    assert len(leads) == len(options)
    assert sorted(place for copies in issued(leads) for place in copies) == [i for i, lead in enumerate(leads) if lead]
    steps: list[Step] = []
    order: list[int] = []
    for place, copies in enumerate(issued(leads)):
        for other in copies:
            steps.append(Step("t", options[other].transfer or 0))
            order.append(other)
        if place in order:
            steps.append(Step("t", left=order[::-1].index(place)))
        steps.append(Step("k", options[place].copied if leads[place] else options[place].direct))
    ends = kernel_ends(steps, most)
    assert (ends[-1] if ends else 0) <= sum(option.direct for option in options)
