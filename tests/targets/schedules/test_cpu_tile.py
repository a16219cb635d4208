"""The tile model keeps within the register file and covers every shape."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tilewright.targets import device_facts, device_names
from tilewright.targets.base import Device
from tilewright.targets.schedules.cpu_tile import Core, best_tile

DEVICES = [name for name in device_names() if name.startswith("cpu-")]


@pytest.mark.parametrize("name", DEVICES)
@given(row=st.integers(1, 300), channels=st.integers(1, 600), depth=st.integers(1, 5000))
def test_tile_fits(name: str, row: int, channels: int, depth: int) -> None:
    core = Core.of(Device(name, device_facts(name)))
    tile = best_tile(row, channels, depth, core)
    assert 1 <= tile.rows <= row
    assert 1 <= tile.vectors <= -(-channels // core.lanes)
    assert core.fits(tile.rows, tile.vectors)


def test_full_tiles_keep_the_multipliers_busy() -> None:
    """On a shape with room for any tile, the model finds one bound by arithmetic alone."""
    core = Core.of(Device("cpu-avx512", device_facts("cpu-avx512")))
    tile = best_tile(56, 256, 1152, core)
    assert core.step_cycles(tile.rows, tile.vectors) == tile.rows * tile.vectors / core.fma_per_cycle
