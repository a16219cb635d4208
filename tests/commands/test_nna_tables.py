"""``tilewright inspect`` on an artifact with command streams."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import tilewright
from tests.frontend.quantized import models
from tilewright.cli import main

pytest.importorskip("ethosu.vela", reason="no Vela: pip install 'tilewright[nna]'")


def test_layers_and_reasons(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "model.tw"
    tilewright.compile(models.interrupted(), "nna-ethos-u65-256").save(path)
    assert main(["inspect", str(path)]) == 0
    text = capsys.readouterr().out
    assert "3 layers in 2 command streams" in text
    assert "its operator has no integer form" in text
    assert "Estimated" in text
    assert "nothing was measured" in text


def test_depths_and_energy_of_a_variable_depth(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "model.tw"
    tilewright.compile(models.residual(), "nna-vbd").save(path)
    assert main(["inspect", str(path), "--json"]) == 0
    layers = [
        layer for part in json.loads(capsys.readouterr().out)["metadata"]["nna"]["parts"] for layer in part["layers"]
    ]
    assert all(layer["estimate"]["cycles"] > 0 and layer["estimate"]["energy_uj"] > 0 for layer in layers)
    assert main(["inspect", str(path)]) == 0
    text = capsys.readouterr().out
    assert "By a model" in text
    assert "8, 8, 8" in text
    assert "nothing was measured" in text


def test_estimates_are_data_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "model.tw"
    tilewright.compile(models.residual(), "nna-ethos-u55-256").save(path)
    assert main(["inspect", str(path), "--json"]) == 0
    (part,) = json.loads(capsys.readouterr().out)["metadata"]["nna"]["parts"]
    estimates = [layer["estimate"] for layer in part["layers"]]
    assert all(estimate["cycles"] > 0 and estimate["sram"] + estimate["external"] > 0 for estimate in estimates)
    busy = [layer["utilisation"] for layer in part["layers"] if layer["plain_bytes"]]
    assert all(0 < share <= 1 for share in busy)


def test_disassembly(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "model.tw"
    tilewright.compile(models.interrupted(), "nna-ethos-u65-256").save(path)
    assert main(["inspect", str(path), "--stream"]) == 0
    text = capsys.readouterr().out
    assert text.count("Ethos-U65-256") == 2
    assert text.count("NPU_OP_STOP") == 2
    assert "NPU_SET_IFM_BASE0" in text


def test_no_stream(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "model.tw"
    tilewright.compile(models.interrupted(), "cpu").save(path)
    assert main(["inspect", str(path), "--stream"]) == 0
    assert capsys.readouterr().out == "no command stream\n"
