"""Limits and thread counts of GPU schedules."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tilewright.targets import device_facts
from tilewright.targets.schedules.gpu_common import GpuLimits, group_size, largest_divisor


@given(extent=st.integers(1, 10_000), at_most=st.integers(0, 64))
def test_largest_divisor(extent: int, at_most: int) -> None:
    found = largest_divisor(extent, at_most)
    assert extent % found == 0
    assert found <= max(at_most, 1)
    assert all(extent % d for d in range(found + 1, min(extent, at_most) + 1))


@given(total=st.integers(1, 100_000), group=st.sampled_from([32, 64, 128]))
def test_group_size(total: int, group: int) -> None:
    limits = GpuLimits(threads=256, group=group, local_bytes=1024, accumulators=16)
    found = group_size(total, limits)
    assert 1 <= found <= group
    assert total % found == 0 or found == group


def test_work_items_are_side_by_side_on_a_gpu_and_one_after_another_on_a_cpu() -> None:
    gpu, cpu = (GpuLimits.of(device_facts(name)) for name in ("mali", "mali-pocl"))
    assert (gpu.serial, gpu.lanes, gpu.outputs) == (False, 4, 4)
    assert (cpu.serial, cpu.lanes, cpu.outputs) == (True, 1, 8)


def test_limits_never_exceed_what_every_mali_has() -> None:
    limits = GpuLimits.of(device_facts("mali-g710"))
    assert limits.threads == 256
    assert limits.local_bytes == 32 * 1024
