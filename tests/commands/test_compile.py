"""``tilewright compile``: results, dumps, verification, and every way to call it wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from tests.models import small_cnn
from tilewright import verify
from tilewright.cli import main
from tilewright.commands.options import parse_shapes
from tilewright.errors import UsageError


def test_json_has_sizes_and_verification(workspace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    goal = tmp_path / "model.tw"
    assert main(["compile", str(workspace / "model.onnx"), "-o", str(goal), "--verify", "--json"]) == 0
    captured = capsys.readouterr()
    summary = json.loads(captured.out)
    assert captured.err == ""
    assert summary["bytes"] == goal.stat().st_size
    assert summary["weight_bytes"] >= 4 * (8 * 27 + 8 + 5120 + 10)
    assert 0 < summary["code_bytes"] < summary["bytes"] - summary["weight_bytes"]
    # tolerance: verify.TOLERANCE, where it is explained
    assert summary["verified"][0]["error"] <= verify.TOLERANCE["fp32"]
    assert list(summary["seconds"])[-1] == "verify"


def test_dump_has_every_phase(workspace: Path, tmp_path: Path) -> None:
    model, goal = str(workspace / "model.onnx"), str(tmp_path / "m.tw")
    assert main(["compile", model, "-o", goal, "--dump", str(tmp_path / "dump")]) == 0
    names = [path.name.split("-")[1].split(".")[0] for path in sorted((tmp_path / "dump").iterdir())]
    assert names == ["normalise", "import", "prepare", "fuse", "schedule", "codegen", "plan"]
    assert "conv.1, relu.1" in (tmp_path / "dump" / "06-plan.plan.txt").read_text()


def test_verbose_explains_and_a_pipe_stays_quiet(
    workspace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["compile", str(workspace / "model.onnx"), "-o", str(tmp_path / "m.tw")]
    assert main(arguments) == 0
    assert capsys.readouterr().err == ""
    assert main([*arguments, "-v"]) == 0
    assert "codegen" in capsys.readouterr().err


def test_open_dimensions_are_fixed_with_shape(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, goal = tmp_path / "dynamic.onnx", tmp_path / "m.tw"
    onnx.save(small_cnn(batch="N"), model)
    assert main(["compile", str(model), "-o", str(goal)]) == 2
    assert "x" in capsys.readouterr().err
    assert not goal.exists()
    assert main(["compile", str(model), "-o", str(goal), "--shape", "x=2x3x16x16"]) == 0


def test_a_difference_is_found_in_its_layer_and_nothing_is_written(
    workspace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong_reference(model: Any, inputs: Any) -> Any:
        """As if onnxruntime's Relu (output r) and all after it were scaled."""
        return {name: value * (1.0 if name == "c" else 1.5) for name, value in reference(model, inputs).items()}

    reference = verify.reference
    monkeypatch.setattr(verify, "reference", wrong_reference)
    goal = tmp_path / "m.tw"
    assert main(["compile", str(workspace / "model.onnx"), "-o", str(goal), "--verify"]) == 5
    captured = capsys.readouterr()
    assert "differing tensors is r" in captured.out
    assert "y differs" in captured.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "code", "complaint"),
    [
        (["nowhere.onnx", "-o", "m.tw"], 2, "nowhere.onnx"),
        (["{model}", "-o", "nowhere/m.tw"], 2, "nowhere"),
        (["{model}", "-o", "m.tw", "--target", "riva"], 2, "riva"),
        (["{model}", "-o", "m.tw", "--recipe", "fast"], 2, "fast"),
        (["{model}", "-o", "m.tw", "--shape", "x=1x3"], 2, "x"),
        (["{model}", "-o", "m.tw", "--shape", "z=1"], 2, "z"),
        (["{model}", "-o", "m.tw", "--shape", "x:1"], 2, "x:1"),
        (["{model}", "-o", "m.tw", "--precision", "fp16"], 2, "fp16"),
        (["{damaged}", "-o", "m.tw"], 3, "damaged.onnx"),
        (["{text}", "-o", "m.tw"], 3, "text.onnx"),
        (["{empty}", "-o", "m.tw"], 3, "empty.onnx"),
    ],
)
def test_wrong_calls_say_what_and_write_nothing(
    workspace: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    code: int,
    complaint: str,
) -> None:
    data = (workspace / "model.onnx").read_bytes()
    (tmp_path / "damaged.onnx").write_bytes(data[: len(data) // 2])
    (tmp_path / "text.onnx").write_text("this is no model")
    (tmp_path / "empty.onnx").write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    files = {"model": workspace / "model.onnx", **{name: f"{name}.onnx" for name in ("damaged", "text", "empty")}}
    assert main(["compile", *(item.format(**files) for item in arguments)]) == code
    captured = capsys.readouterr()
    assert complaint in captured.err
    assert "Traceback" not in captured.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["damaged.onnx", "empty.onnx", "text.onnx"]


def test_errors_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compile", "nowhere.onnx", "-o", "m.tw", "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["error"] == "UsageError"


def test_shapes() -> None:
    assert parse_shapes(["x=1x3x224x224", "a=b=7"]) == {"x": (1, 3, 224, 224), "a=b": (7,)}


@pytest.mark.parametrize("option", ["x", "x=", "=1", "x=1x", "x=-1", "x=1.5", "x=1,3"])
def test_malformed_shapes(option: str) -> None:
    with pytest.raises(UsageError, match="--shape"):
        parse_shapes([option])


def test_model_is_unchanged_by_compile(workspace: Path) -> None:
    import tilewright

    model = small_cnn()
    before = model.SerializeToString()
    artifact = tilewright.compile(model)
    assert model.SerializeToString() == before
    assert np.dtype(artifact.plan.buffers[artifact.plan.inputs[0]].dtype) == np.float32
