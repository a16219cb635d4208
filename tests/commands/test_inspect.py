"""``tilewright inspect``: JSON, plan text, table."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tilewright.cli import main


def test_json(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(workspace / "model.tw"), "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["bytes"]["file"] == (workspace / "model.tw").stat().st_size
    assert summary["inputs"] == [{"name": "x", "dtype": "float32", "shape": [1, 3, 16, 16]}]
    assert summary["selftest"]
    assert summary["metadata"]["tools"]["apache-tvm"] == "0.27.0.post1"


def test_plan_and_table(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(workspace / "model.tw"), "--plan"]) == 0
    plan = capsys.readouterr().out
    assert plan.startswith("plan cpu-")
    assert main(["inspect", str(workspace / "model.tw")]) == 0
    table = capsys.readouterr().out
    assert "conv.1" in table
    assert "self-test" not in plan


def test_damaged(workspace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "cut.tw").write_bytes((workspace / "model.tw").read_bytes()[:-1])
    assert main(["inspect", str(tmp_path / "cut.tw")]) == 3
    assert "cut.tw" in capsys.readouterr().err
