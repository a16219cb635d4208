"""Phases: quiet in a pipe, lines with -v, files with --dump."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from tilewright.errors import UsageError
from tilewright.progress import Phases


def console(terminal: bool) -> tuple[Console, io.StringIO]:
    stream = io.StringIO()
    return Console(file=stream, force_terminal=terminal, width=80), stream


def test_quiet_in_a_pipe() -> None:
    out, stream = console(terminal=False)
    phases = Phases(out)
    with phases.show("compiling", 1):
        phases.observe("plan", str)
    assert stream.getvalue() == ""


def test_bar_on_a_terminal() -> None:
    out, stream = console(terminal=True)
    phases = Phases(out)
    with phases.show("compiling", 1):
        phases.observe("plan", str)
    assert "compiling" in stream.getvalue()


def test_verbose_says_each_phase() -> None:
    out, stream = console(terminal=False)
    phases = Phases(out, verbose=True)
    phases.observe("import", str)
    phases.observe("plan", str)
    assert [line.split()[0] for line in stream.getvalue().splitlines()] == ["import", "plan"]
    assert list(phases.seconds) == ["import", "plan"]


def test_dump_writes_one_file_a_phase_in_order(tmp_path: Path) -> None:
    phases = Phases(dump=tmp_path / "new" / "dump")
    phases.observe("normalise", lambda: "graph")
    phases.observe("plan", lambda: "the plan")
    phases.observe("verify", lambda: "not dumped")
    files = sorted((tmp_path / "new" / "dump").iterdir())
    assert [file.name for file in files] == ["00-normalise.onnx.txt", "01-plan.plan.txt"]
    assert files[1].read_text() == "the plan"


def test_dump_that_cannot_be_a_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="--dump"):
        Phases(dump=tmp_path / "file" / "dump")
