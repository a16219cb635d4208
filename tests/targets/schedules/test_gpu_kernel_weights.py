"""When a kernel of compressed weights is predicted to be worth its while; nothing is measured."""

from __future__ import annotations

from tilewright.targets.schedules.gpu_kernel_weights import KEPT_DENSE, padded, slower
from tilewright.targets.schedules.gpu_words import Words


def words(columns: int, bits: int, bw: int = 0) -> Words:
    return Words(64, columns, bits, False, rows=4, lanes=4, bh=4 if bw else 0, bw=bw)


def test_few_rows_leave_low_bits_packed_and_many_do_not() -> None:
    assert not slower(words(512, 4), 512, rows=1)
    assert not slower(words(512, 8), 512, rows=64)
    assert slower(words(512, 8), 512, rows=1000) == KEPT_DENSE


def test_sparse_weights_are_kept_packed_where_enough_is_dropped() -> None:
    assert not slower(words(52, 8, bw=4), 512, rows=784)
    assert "sparse slower" in slower(words(480, 8, bw=4), 512, rows=784)


def test_padding_to_whole_steps_costs_little_or_is_left() -> None:
    assert padded(410, 32) == 416  # four chunks a step
    assert padded(20, 32) == 20
    assert padded(33, 3) == 64
    assert padded(6, 8, bw=16) == 16
