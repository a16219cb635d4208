"""Timelines that a pencil can follow."""

from __future__ import annotations

from tilewright.lower.ethosu.timeline import Step, kernel_ends


def kernels(*cycles: float) -> list[Step]:
    return [Step("k", each) for each in cycles]


def test_kernels_run_one_after_another() -> None:
    assert kernel_ends(kernels(10, 20, 5), 1) == [10, 30, 35]


def test_a_transfer_runs_beside_the_kernel_before() -> None:
    first, second = kernels(100, 10)
    assert kernel_ends([first, Step("t", 60), Step("t", left=0), second], 1) == [100, 110]
    assert kernel_ends([first, Step("t", 160), Step("t", left=0), second], 1) == [100, 170]


def test_a_wait_may_leave_transfers_under_way() -> None:
    first, second = kernels(10, 10)
    steps = [Step("t", 50), first, Step("t", 70), Step("t", left=1), second]
    assert kernel_ends(steps, 2) == [10, 60]


def test_queues_are_short() -> None:
    """With one transfer under way the next is not issued, nor what follows it."""
    steps = [Step("t", 50), Step("t", 50), *kernels(10)]
    assert kernel_ends(steps, 1) == [60]
    assert kernel_ends(steps, 2) == [10]
    # The third kernel is issued when the first ends; only then the transfer after it.
    steps = [*kernels(100, 100, 10), Step("t", 150), Step("t", left=0), *kernels(1)]
    assert kernel_ends(steps, 1) == [100, 200, 210, 251]


def test_waits_for_kernels() -> None:
    first, second = kernels(40, 10)
    assert kernel_ends([first, Step("k", left=0), Step("t", 30), Step("t", left=0), second], 1) == [40, 80]
