"""The table of fc.py and conv.py on a small layer: rows, bars, rivals that are missing, JSON and the exit code."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest
from rich.console import Console

from benchmarks import conv, fc
from benchmarks.layer_table import BASE, Row, arguments, chosen, finish, measure, table
from benchmarks.layers import Form, Layer
from benchmarks.rivals.runtimes import RUNTIMES

LAYER = Layer("small", (1, 64), (32, 64))
FORMS = [Form("fp32"), Form("int8 90%", (16, 4), 0.1, "int8", "dynamic"), Form("impossible", weights="int9")]


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    err = Console(stderr=True)
    return measure(LAYER, FORMS, ["scipy-bsr"], {"int8 90%": 1e9, "fp32": 0.0}, "cpu", 2, err)


def test_rows(rows: list[Row]) -> None:
    assert [row.form for row in rows] == [BASE, "fp32", "int8 90%", "scipy-bsr"]  # what has no such codec is left out
    base, dense, sparse, rival = rows
    assert (base.wall, base.cpu, base.holds) == (1.0, 1.0, True)
    assert not dense.holds  # nothing takes no time
    assert sparse.holds
    assert dense.error < 1e-5
    assert dense.exactness is not None
    assert sparse.weight_bytes is not None
    assert sparse.weight_bytes < 64 * 32
    assert sparse.reading is not None
    assert sparse.reading > 0
    assert sparse.moving is not None
    assert sparse.moving > 0
    assert rival.error < 1e-5
    assert rival.bar is None
    assert rival.python_us is None
    assert min(row.us for row in rows) > 0


def test_output(rows: list[Row], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert finish(rows, tmp_path / "rows.json") == 1
    assert "1 of 2 bars held" in capsys.readouterr().out
    written = json.loads((tmp_path / "rows.json").read_text())
    assert [row["form"] for row in written["rows"]] == [row.form for row in rows]
    assert "onnxruntime" in written["versions"]
    Console(width=200).print(table(rows))
    shown = capsys.readouterr().out
    assert "MISSED" in shown
    assert "held" in shown
    assert finish([rows[2]], None) == 0


def test_bars_belong_to_forms() -> None:
    """A bar of a form that nobody measures would never be missed."""
    names = {form.name for form in fc.forms((16, 1))}
    assert all(set(bars) <= names for bars in fc.BARS.values())
    assert set(conv.BARS) <= {form.name for form in conv.FORMS}
    assert fc.bars("FC8", 16) == {}
    assert fc.bars("FC7", 1)["int8 90%"] == 0.018
    assert conv.bars("1x1-512@14")["int8 90%"] == 0.09
    assert set(fc.bars("FC6", 1)) == set(fc.BARS[1])


def test_codecs_of_the_command_line_are_rows_more(capsys: pytest.CaptureFixture[str]) -> None:
    """With the reason, where one is not read packed."""
    parser = argparse.ArgumentParser()
    arguments(parser, ["small"], [form.name for form in FORMS])
    asked = ["--form", "fp32", "--weights", "codebook(256)", "block_sparse(16,4) astc(6,6)"]
    forms = chosen(FORMS, parser.parse_args(asked))
    assert [(form.name, form.block, form.density, form.weights, form.activations) for form in forms] == [
        ("fp32", None, 1.0, None, "float"),
        ("codebook(256)", None, 1.0, "codebook(256)", "float"),
        ("astc(6,6) 90% 16x4", (16, 4), 0.1, "astc(6,6)", "float"),
    ]
    rows = measure(LAYER, forms, [], {}, "cpu-avx2", 1, Console(stderr=True, width=200))
    assert [row.form for row in rows] == [BASE, "fp32", "codebook(256)", "astc(6,6) 90% 16x4"]
    assert "codebook(256): kept dense: looking up one of 256 centroids" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["openvino", "deepsparse"])
def test_missing_rivals_are_named(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("scipy")
    try:
        __import__(name)
    except ImportError:
        measure(LAYER, [], [name], {}, "cpu", 1, Console(stderr=True, width=200))
        assert f"pip install {name}" in capsys.readouterr().err
    else:
        pytest.skip(f"{name} is installed")
    assert name in RUNTIMES
