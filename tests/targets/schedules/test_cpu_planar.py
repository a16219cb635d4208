"""Which layers have rows or pixels as lanes, and how many blocks they may have."""

from __future__ import annotations

from tests.targets.running import levels_here
from tests.targets.schedules.planar_layers import check, convolution, product


def test_lonely_convolutions_and_batches_take_this_kernel() -> None:
    device = levels_here()[-1]
    assert "planar" in check(product(16, 64, 32), device, "block_sparse(16,1)", "f32", 0)
    assert "planar" in check(convolution(16, 14, 20, 32, 3, 1), device, "block_sparse(16,4)", "int8", 8)
    assert "planar" not in check(product(1, 64, 32), device, "block_sparse(16,1)", "f32", 0)


def test_one_block_and_all_blocks() -> None:
    device = levels_here()[-1]
    for density in (0.01, 0.6):
        check(product(16, 256, 48), device, "block_sparse(16,4)", "int4", 8, density)
