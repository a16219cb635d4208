"""The arena planner: no overlap in time and space, and the live-set lower bound on typical shapes of lifetimes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tilewright.lower.arena import Arena, Lifetime, lower_bound, plan_arena
from tilewright.plan import ARENA_ALIGNMENT

lifetimes = st.lists(
    st.builds(
        lambda nbytes, first, length: Lifetime(nbytes, first, first + length),
        st.integers(0, 100_000),
        st.integers(0, 30),
        st.integers(0, 10),
    ),
    max_size=30,
)


@given(lifetimes)
def test_tensors_alive_together_do_not_overlap(items: list[Lifetime]) -> None:
    arena = plan_arena(items)
    for i, a in enumerate(items):
        assert arena.offsets[i] % ARENA_ALIGNMENT == 0
        assert arena.offsets[i] + a.nbytes <= arena.nbytes
        for j, b in enumerate(items[:i]):
            if a.overlaps(b) and a.nbytes and b.nbytes:
                apart = (
                    arena.offsets[i] + a.nbytes <= arena.offsets[j] or arena.offsets[j] + b.nbytes <= arena.offsets[i]
                )
                assert apart, (a, b)


@given(lifetimes)
def test_never_below_the_lower_bound(items: list[Lifetime]) -> None:
    assert lower_bound(items) <= plan_arena(items).nbytes <= sum(item.padded for item in items)


def test_chain_needs_its_largest_neighbours() -> None:
    # a 4 KiB, b 2 KiB, c 8 KiB in a chain: b and c live together at the worst step
    items = [Lifetime(4096, 0, 1), Lifetime(2048, 1, 2), Lifetime(8192, 2, 3)]
    assert plan_arena(items).nbytes == lower_bound(items) == 10240


def test_no_tensors() -> None:
    assert plan_arena([]) == Arena((), 0)
