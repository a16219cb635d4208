"""Fixtures shared by all tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

# The same examples in every run: whether a change passes is no matter of chance, nor of time. To look for others:
# pytest --hypothesis-profile default.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")

Golden = Callable[[str, str], None]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="rewrite golden texts instead of comparing")


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Golden:
    """``golden("name.txt", text)``: text equals tests/golden/<name>; ``--update-golden`` rewrites the file."""
    folder = Path(__file__).with_name("golden")

    def check(name: str, text: str) -> None:
        path = folder / name
        if request.config.getoption("--update-golden"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        assert path.exists(), f"no golden text {path.name}; run pytest --update-golden and review the new file"
        assert text == path.read_text(encoding="utf-8")

    return check
