"""``tilewright targets``: the list, one target's facts, unknown names."""

from __future__ import annotations

import json

import pytest

from tilewright.cli import main
from tilewright.targets import device_names


def test_list_has_every_device_and_this_machine(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["targets", "--json"]) == 0
    listing = json.loads(capsys.readouterr().out)
    assert list(listing["targets"]) == device_names()
    assert any(device["backend"] == "cpu" for device in listing["here"])


def test_facts(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["targets", "cpu-avx2"]) == 0
    assert "vector_bytes = 32" in capsys.readouterr().out
    assert main(["targets", "cpu", "--json"]) == 0
    assert all(name.startswith("cpu-") for name in json.loads(capsys.readouterr().out))


def test_unknown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["targets", "riva"]) == 2
    assert "cpu-avx2" in capsys.readouterr().err
