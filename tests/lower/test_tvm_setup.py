"""The TVM pins, and inspect.stack restored after use."""

from __future__ import annotations

import importlib.metadata
import inspect

import pytest

from tilewright.errors import ToolError
from tilewright.lower.tvm_setup import PINS, check_versions, fast_tvmscript


def test_installed_versions_pass() -> None:
    check_versions()


def test_another_version_is_refused_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.metadata, "version", lambda package: "9.9")
    with pytest.raises(ToolError, match=r"pip install apache-tvm==") as caught:
        check_versions()
    assert all(package in str(caught.value) for package in PINS)


def test_stack_is_replaced_only_inside() -> None:
    original = inspect.stack
    with fast_tvmscript():
        frames = inspect.stack()
        assert inspect.stack is not original
        assert frames[0].function == "test_stack_is_replaced_only_inside"
        assert frames[0].frame.f_globals is globals()
    assert inspect.stack is original
