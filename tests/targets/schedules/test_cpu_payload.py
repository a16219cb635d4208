"""What layouts kept, for cpu kernels: rows by depth, zero points apart. How it decodes: test_cpu_kernel_weights.py."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from tests.targets.schedules.test_cpu_kernel_weights import weight
from tilewright.targets.schedules.cpu_payload import Payload, payloads_of


def payloads(matrix: npt.NDArray[np.float32], spec: str, density: float | None = None, lanes: int = 4) -> list[Payload]:
    found = payloads_of(weight(matrix, spec, density)[0], lanes)
    assert not isinstance(found, str)
    return list(found)


def rows_of_depths(rows: int) -> npt.NDArray[np.float32]:
    """Rows that want more bits the further down they are; the first four want none."""
    rng = np.random.default_rng(0)
    scale = np.exp2(np.arange(rows) / 3)[:, None] * (np.arange(rows) >= 4)[:, None]
    return (rng.standard_normal((rows, 64)) * scale).astype(np.float32)


def test_rows_are_grouped_by_depth_and_removed_ones_left_out() -> None:
    matrix = rows_of_depths(40)
    parts = payloads(matrix, "vbd(4)")
    assert len(parts) > 1
    bits = [part.bits for part in parts]
    assert bits == sorted(set(bits))
    chosen = np.concatenate([part.outputs for part in parts])
    assert len(set(chosen)) == len(chosen) <= 36
    for part in parts[:-1]:
        assert len(part.outputs) >= 4  # fewer than a vector joined the next
    for part in parts:
        assert np.abs(part.values).max() <= 2 ** (part.bits - 1)


def test_block_rows_stay_together() -> None:
    parts = payloads(rows_of_depths(44), "block_sparse(8,4) vbd(4)", 0.5)
    for part in parts:
        assert part.index is not None
        assert len(part.values) == 8 * len(part.index)
        assert len(set(part.outputs // 8)) == len(part.index)


@pytest.mark.parametrize("spec", ["int4(asymmetric)", "int5(group=16,asymmetric)", "int8(per=tensor,asymmetric)"])
def test_zero_points_are_integers_of_as_many_bits(spec: str) -> None:
    matrix = np.random.default_rng(0).uniform(-1, 3, (6, 40)).astype(np.float32)
    (part,) = payloads(matrix, spec)
    assert part.zeros is not None
    half = 2 ** (part.bits - 1)
    for integers in (part.values, part.zeros):
        assert -half <= integers.min() <= integers.max() < half
    np.testing.assert_array_equal(part.integers, part.values - part.spread(part.zeros))


def test_deep_rows_are_floats() -> None:
    """An integer of 16 bits has more than float16 does; of 10 bits it is exact there."""
    matrix = np.random.default_rng(0).standard_normal((8, 16)).astype(np.float32)
    assert [payloads(matrix, f"vbd({bits},per=tensor)")[0].bits for bits in (8, 10, 16)] == [8, 16, 32]
