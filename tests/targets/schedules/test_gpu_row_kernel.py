"""How work-items share rows and reductions."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tilewright.targets import resolve
from tilewright.targets.schedules.gpu_common import GpuLimits
from tilewright.targets.schedules.gpu_row_kernel import Grid, splits_for, tile_for


@given(rows=st.integers(1, 100), most=st.integers(1, 8))
def test_tiles_take_as_many_rows_as_fit_and_compute_few_twice(rows: int, most: int) -> None:
    tile = tile_for(rows, most)
    assert 1 <= tile <= min(rows, most)
    if any(rows % fewer == 0 for fewer in range(most // 2 + 1, most + 1)):
        assert rows % tile == 0
    else:  # as few tiles as there can be, of equal size
        assert -(-rows // tile) == -(-rows // most)


def test_tiles_without_a_remainder_are_preferred() -> None:
    assert [tile_for(8, most) for most in range(1, 9)] == [1, 2, 2, 4, 4, 4, 4, 8]
    assert [tile_for(7, most) for most in range(1, 9)] == [1, 2, 3, 4, 4, 4, 7, 7]


@given(outputs=st.integers(1, 5000), rows=st.integers(1, 16), spans=st.integers(1, 1000))
def test_reductions_are_split_to_keep_a_gpu_busy(outputs: int, rows: int, spans: int) -> None:
    limits = GpuLimits.of(resolve("mali-g57").device.facts)
    grid = Grid(outputs, 4, 4, 1)
    splits = splits_for(grid, rows, spans, limits)
    assert 1 <= splits <= spans
    assert splits * grid.lanes <= limits.threads
    assert (splits - 1) * -(-spans // splits) < spans  # nobody goes without work
