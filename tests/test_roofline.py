"""The floor of a kernel: the slower of its bytes and its operations. Speeds are this machine's; none is asserted."""

from __future__ import annotations

import pytest

from tilewright.roofline import Machine, measure


def test_the_slower_of_the_two_counts() -> None:
    machine = Machine(bytes_per_s=1e9, operations_per_s=1e11)
    assert machine.floor_us(2000, 0) == pytest.approx(2)
    assert machine.floor_us(2000, 100_000) == pytest.approx(2)
    assert machine.floor_us(2000, 1_000_000) == pytest.approx(10)


def test_speeds_are_those_of_a_computer() -> None:
    """Between a microcontroller and a data centre: the units are right."""
    machine = measure()
    assert 1e7 < machine.bytes_per_s < 1e13
    assert 1e7 < machine.operations_per_s < 1e14
