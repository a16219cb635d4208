"""``tilewright compress``: what it writes and prints, and what it refuses."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

from tilewright import verify
from tilewright.cli import main
from tilewright.numeric import relative_l2


@pytest.fixture
def samples(tmp_path: Path) -> Path:
    path = tmp_path / "samples.npz"
    np.savez(path, x=np.random.default_rng(2).standard_normal((8, 3, 16, 16), np.float32))
    return path


def test_onnx_in_smaller_onnx_out(workspace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    goal, page = tmp_path / "small.onnx", tmp_path / "report.html"
    model = workspace / "model.onnx"
    assert main(["compress", str(model), "--recipe", "int4", "-o", str(goal), "--report", str(page)]) == 0
    shown = capsys.readouterr().out
    assert "int4(group=32)" in shown
    assert f"{goal.stat().st_size:,}" in shown
    onnx.checker.check_model(onnx.load(goal), full_check=True)
    assert goal.stat().st_size < model.stat().st_size
    assert page.read_text(encoding="utf-8").startswith("<!")


def test_json_accounts_for_every_byte(
    workspace: Path, tmp_path: Path, samples: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    goal = tmp_path / "small.onnx"
    arguments = ["compress", str(workspace / "model.onnx"), "--recipe", "int8", "--calib", str(samples)]
    assert main([*arguments, "-o", str(goal), "--json"]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    report = json.loads(captured.out)
    assert sum(report["file"].values()) == goal.stat().st_size == report["totals"]["file_bytes"]
    assert all(layer["activations"] == 8 for layer in report["layers"])


def test_textures_for_other_tools(workspace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    goal, folder = tmp_path / "small.onnx", tmp_path / "textures"
    arguments = ["compress", str(workspace / "model.onnx"), "-o", str(goal), "--astc", str(folder)]
    assert main([*arguments, "--recipe", "int4"]) == 2
    assert "no weight as ASTC" in capsys.readouterr().err
    assert not goal.exists()
    assert main([*arguments, "--recipe", "astc6x6", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)["textures"]
    assert listed
    assert {Path(path) for path in listed} == set(folder.glob("*.astc"))


def test_a_missing_encoder_is_named_before_any_work(
    workspace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    goal, recipe = tmp_path / "small.onnx", tmp_path / "recipe.toml"
    recipe.write_text("[astc]\nblock = '6x6'\nastcenc = 10\n")
    monkeypatch.setitem(sys.modules, "astc_encoder", None)
    assert main(["compress", str(workspace / "model.onnx"), "-o", str(goal), "--recipe", str(recipe)]) == 4
    assert "pip install astc-encoder-py" in capsys.readouterr().err
    assert not goal.exists()


def test_compile_compresses_too(workspace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small, goal, direct = tmp_path / "small.onnx", tmp_path / "a.tw", tmp_path / "b.tw"
    model, x = str(workspace / "model.onnx"), str(workspace / "x.npy")
    assert main(["compress", model, "--recipe", "int4", "-o", str(small)]) == 0
    assert main(["compile", str(small), "-o", str(goal), "--verify"]) == 0
    capsys.readouterr()
    assert main(["compile", model, "--recipe", "int4", "-o", str(direct), "--verify", "--selftest", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["report"]["totals"]["file_bytes"] == direct.stat().st_size
    outputs = []
    for artifact in (goal, direct):
        assert main(["run", str(artifact), "--input", x, "-o", str(tmp_path / "y.npz")]) == 0
        with np.load(tmp_path / "y.npz") as file:
            outputs.append(file[file.files[0]])
    # verify.TOLERANCE is for two runtimes; the same kernels on the same weights leave far less.
    assert relative_l2(outputs[0], outputs[1]) <= verify.TOLERANCE["fp32"]
    assert main(["run", str(direct), "--selftest"]) == 0
    capsys.readouterr()


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--recipe", "int8"], "--calib"),
        (["--recipe", "int9"], "int9"),
        (["--recipe", "int4", "--calib", "nowhere.npz"], "nowhere.npz"),
        (["--recipe", "int4", "--shape", "x=1"], "x"),
        (["--recipe", "int4", "--report", "no/folder/r.html"], "no such folder"),
    ],
)
def test_wrong_calls_write_nothing(
    workspace: Path, tmp_path: Path, arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    goal = tmp_path / "small.onnx"
    assert main(["compress", str(workspace / "model.onnx"), "-o", str(goal), *arguments]) == 2
    assert complaint in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_missed_gate_writes_nothing(workspace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(3)
    np.savez(tmp_path / "test.npz", x=rng.standard_normal((50, 3, 16, 16), np.float32))
    recipe = tmp_path / "recipe.toml"
    recipe.write_text('[prune]\ndensity = 0.01\n[accuracy]\ndata = "test.npz"\nmax_drop = 0.0\n')
    goal = tmp_path / "small.onnx"
    assert main(["compress", str(workspace / "model.onnx"), "--recipe", str(recipe), "-o", str(goal)]) == 5
    assert "agreement" in capsys.readouterr().err
    assert not goal.exists()


def test_nan_weights_are_a_clear_error(workspace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = onnx.load(workspace / "model.onnx")
    tensor = next(tensor for tensor in model.graph.initializer if len(tensor.dims) == 4)
    array = onnx.numpy_helper.to_array(tensor).copy()
    array.flat[5] = np.inf
    tensor.CopyFrom(onnx.numpy_helper.from_array(array, tensor.name))
    broken, goal = tmp_path / "broken.onnx", tmp_path / "small.onnx"
    onnx.save(model, broken)
    assert main(["compress", str(broken), "--recipe", "int4", "-o", str(goal)]) == 2
    assert "conv" in capsys.readouterr().err
    assert not goal.exists()
