"""Contestants in turns, and an artifact in a C loop; no time is asserted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.layers import Form, Layer, build
from benchmarks.timing import LEAST_CALLS, FromC, Moving, ReadOnly, Times, has_compiler, interleave, repeated
from tilewright.runtime import Session


def test_rounds_alternate_and_calls_are_enough() -> None:
    order: list[str] = []
    loops = {name: lambda calls, name=name: order.extend([name] * calls) for name in "ab"}
    times = interleave(loops, rounds=3, seconds=0)
    assert [len(found.wall) for found in times.values()] == [3, 3]
    turns = [name for name, before in zip(order, ["", *order], strict=False) if name != before]
    assert turns == ["a", "b"] * 4  # one to find out how long a call takes
    assert order.count("a") == (1 + LEAST_CALLS) * 4


def test_ratios_are_medians_of_rounds() -> None:
    ours = Times((1.0, 2.0, 30.0), (1.0, 1.0, 1.0))
    theirs = Times((2.0, 2.0, 10.0), (4.0, 2.0, 1.0))
    assert ours.over(theirs) == (1.0, 0.5)
    assert ours.median_us == 2e6


def test_python_callables_are_repeated() -> None:
    calls: list[int] = []
    repeated(lambda: calls.append(1))(5)
    assert len(calls) == 5


def test_c_computes_what_python_does(tmp_path: Path) -> None:
    if not has_compiler():
        pytest.skip("no C compiler: apt-get install gcc")
    layer = Layer("small", (2, 24), (10, 24))
    built = build(layer, Form("fp32"), "cpu", tmp_path)
    x = layer.sample()
    in_c = FromC(built.path, x, 20)
    in_c(3)
    with Session(built.path) as session:
        np.testing.assert_array_equal(in_c.y.reshape(2, 10), session.run({"x": x})["y"])
    in_c.close()


@pytest.mark.parametrize("nbytes", [0, 8, 1000, 1024, 100_000])
def test_every_byte_is_read_once_a_call(nbytes: int) -> None:
    if not has_compiler():
        pytest.skip("no C compiler: apt-get install gcc")
    assert ReadOnly(nbytes)(3) == 3 * (nbytes // 8)


@pytest.mark.parametrize(("read", "written"), [(8, 0), (1000, 640), (100_000, 64)])
def test_all_is_read_before_all_is_written(read: int, written: int) -> None:
    if not has_compiler():
        pytest.skip("no C compiler: apt-get install gcc")
    moving = Moving(read, written)
    assert moving(3) == 3 * (read // 8)
    assert moving.target.nbytes == written
    assert (moving.target == 3 * (read // 8)).all()
