"""Plans of whole networks: the arena is as small as the live sets allow."""

from __future__ import annotations

import pytest

from benchmarks.networks import NETWORKS
from tilewright import frontend
from tilewright.lower.arena import Lifetime, lower_bound
from tilewright.lower.pipeline import lower
from tilewright.plan import BufferKind, Plan
from tilewright.targets.base import Target


def live_set(plan: Plan) -> int:
    """The lower bound, from the finished plan alone: bytes alive together at the worst launch."""
    uses: dict[int, list[int]] = {}
    for step, launch in enumerate(plan.launches):
        for arg in launch.args:
            if plan.buffers[arg].kind is BufferKind.ARENA:
                uses.setdefault(arg, []).append(step)
    return lower_bound([Lifetime(plan.buffers[arg].nbytes, steps[0], steps[-1]) for arg, steps in uses.items()])


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_arena_reaches_the_live_set_lower_bound(name: str, toy_target: Target) -> None:
    graph = frontend.load(NETWORKS[name](), {})
    plan = lower(frontend.to_relax(graph)[0], toy_target, ["x"], ["y"])
    assert plan.arena_bytes == live_set(plan) > 0
