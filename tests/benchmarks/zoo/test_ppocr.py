"""The character metric."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from benchmarks.zoo.ppocr import _distance


def test_known_distances() -> None:
    assert _distance("kitten", "sitting") == 3
    assert _distance("", "abc") == 3
    assert _distance("flaw", "lawn") == 2


@given(st.text("abc", max_size=8), st.text("abc", max_size=8), st.text("abc", max_size=8))
def test_is_a_metric(a: str, b: str, c: str) -> None:
    assert (_distance(a, b) == 0) == (a == b)
    assert _distance(a, b) == _distance(b, a)
    assert _distance(a, c) <= _distance(a, b) + _distance(b, c)
