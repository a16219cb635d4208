"""``tilewright bench``: its report and trace; no time is asserted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tilewright.cli import main
from tilewright.commands.bench import interleave


def test_report_against_onnxruntime(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["bench", str(workspace / "model.tw"), "--against", str(workspace / "model.onnx"), "--rounds", "2"]
    assert main([*arguments, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["rounds"] == 2
    assert report["target"].startswith("cpu")
    assert report["device"]  # who ran it: figures of PoCL say nothing of a GPU
    ours, rival = (report["ms"][name]["median"] for name in ("tilewright", "onnxruntime"))
    assert report["ratio"] == pytest.approx(ours / rival)


def test_trace_names_kernels_and_layers(workspace: Path, tmp_path: Path) -> None:
    trace = tmp_path / "trace.json"
    assert main(["bench", str(workspace / "model.tw"), "--rounds", "1", "--trace", str(trace)]) == 0
    events = json.loads(trace.read_text())["traceEvents"]
    assert any("conv.1" in str(event.get("args", {}).get("layers")) for event in events)


def test_rounds_alternate() -> None:
    order: list[str] = []
    times = interleave({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, rounds=3)
    assert [len(figures) for figures in times.values()] == [3, 3]
    runs = [name for name, previous in zip(order, ["", *order], strict=False) if name != previous]
    assert runs[-6:] == ["a", "b"] * 3


def test_wrong_calls(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", str(workspace / "model.tw"), "--rounds", "0"]) == 2
    assert main(["bench", str(workspace / "model.tw"), "--against", "none.onnx"]) == 2
    assert "none.onnx" in capsys.readouterr().err
