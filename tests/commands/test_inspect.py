"""``tilewright inspect``: JSON, plan text, table."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.fuzz.make_corpus import CORPUS
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


def test_compressed_weights(capsys: pytest.CaptureFixture[str]) -> None:
    path = CORPUS / "prologue.tw"
    assert main(["inspect", str(path), "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    constants = summary["constants"]
    assert [(item["name"], item["storage"], item["bytes"]) for item in constants] == [
        ("w.q", "entropy", 200),
        ("w.scale", "entropy", 2000),
    ]
    assert all(0 < item["file_bytes"] < item["bytes"] for item in constants)
    file_bytes = sum(item["file_bytes"] for item in constants) + sum(summary["file"].values())
    assert summary["bytes"]["file"] == file_bytes == path.stat().st_size
    assert (summary["bytes"]["static"], summary["bytes"]["temporary"]) == (256, 512)
    assert [launch["layers"] for launch in summary["prologue"]] == [["w.unpack"], []]
    assert main(["inspect", str(path)]) == 0
    text = capsys.readouterr().out
    assert "at load 2 launches make 256 bytes of weights" in text
    assert "w.unpack" in text


def test_measured_times_beside_the_floor(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(workspace / "model.tw"), "--measure", "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert set(summary["machine"]) == {"device", "bytes_per_s", "operations_per_s"}
    conv = next(launch for launch in summary["launches"] if "conv2d" in launch["kernel"])
    assert conv["operations"] == 2 * 8 * 256 * 27 + 2 * 8 * 256
    for launch in summary["launches"]:
        assert launch["us"] > 0
        assert launch["share"] == pytest.approx(launch["floor_us"] / launch["us"])
    assert main(["inspect", str(workspace / "model.tw"), "--measure"]) == 0
    text = capsys.readouterr().out
    assert f"measured on {summary['machine']['device']}" in text
    assert "floor: one core of this machine" in text


def test_artifacts_that_do_not_tell_operations(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(CORPUS / "prologue.tw"), "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert [launch["operations"] for launch in summary["launches"]] == [None] * len(summary["launches"])


def test_damaged(workspace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "cut.tw").write_bytes((workspace / "model.tw").read_bytes()[:-1])
    assert main(["inspect", str(tmp_path / "cut.tw")]) == 3
    assert "cut.tw" in capsys.readouterr().err
