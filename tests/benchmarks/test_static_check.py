"""The frame of the static checks: rows appear and are saved one by one, and the exit code tells of the worst."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from benchmarks import static_check
from benchmarks.static_check import Check
from tilewright.errors import ToolError


@dataclass
class Row(static_check.Row):
    kernels: int = 0

    def figures(self) -> dict[str, int]:
        return {"kernels": self.kernels}

    def complaints(self) -> dict[str, str]:
        return {"long_kernel": "two spills"} if self.kernels > 2 else {}


def run(tmp_path: Path, devices: list[str]) -> tuple[int, list[dict[str, object]]]:
    saved: list[int] = []
    out = tmp_path / "rows.json"

    def examine(row: Row, path: Path, shapes: static_check.Shapes) -> None:
        saved.append(len(json.loads(out.read_text())) if out.exists() else 0)
        if row.device == "absent":
            raise ToolError("no such tool\nand more")
        row.kernels = int(row.device)

    args = static_check.parser("").parse_args(["--models", "net.onnx", "--precisions", "fp16", "--json", str(out)])
    code = Check("Kernels, static", Row, examine).run(args, devices)
    assert saved == list(range(len(devices)))
    return code, json.loads(out.read_text())


def test_rows_are_saved_one_by_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, rows = run(tmp_path, ["1", "2"])
    assert code == 0
    assert rows[1] == {"model": "net", "device": "2", "precision": "fp16", "error": "", "unpacked": {}, "kernels": 2}
    printed = capsys.readouterr().out
    assert printed.index("net 1 fp16: 1 kernels") < printed.index("net 2 fp16: 2 kernels") < printed.index("static")


def test_a_kernel_that_breaks_a_bar_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path, ["3", "1"])[0] == 1
    printed = capsys.readouterr().out
    assert "long_kernel: two spills" in printed
    assert "1 unsound" in printed


def test_an_error_is_a_row_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, rows = run(tmp_path, ["absent", "1"])
    assert (code, rows[0]["error"], rows[1]["error"]) == (1, "no such tool", "")
    assert "net absent fp16: no such tool" in capsys.readouterr().out
