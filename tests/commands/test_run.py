"""``tilewright run``: inputs from files, outputs to a file, the self-test, and wrong inputs."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from tilewright.cli import main
from tilewright.verify import TOLERANCE, reference


def test_outputs_equal_onnxruntime(workspace: Path, tmp_path: Path) -> None:
    goal = tmp_path / "out.npz"
    assert main(["run", str(workspace / "model.tw"), "--input", str(workspace / "x.npy"), "-o", str(goal)]) == 0
    want = reference(workspace / "model.onnx", {"x": np.load(workspace / "x.npy")})["y"]
    with np.load(goal) as got:
        np.testing.assert_allclose(got["y"], want, rtol=TOLERANCE["fp32"], atol=1e-6)
    assert [path.name for path in tmp_path.iterdir()] == ["out.npz"]


def test_npz_and_named_inputs(workspace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    x = np.load(workspace / "x.npy")
    np.savez(tmp_path / "in.npz", x=x)
    printed = []
    for option in (str(tmp_path / "in.npz"), f"x={workspace / 'x.npy'}"):
        assert main(["run", str(workspace / "model.tw"), "--input", option, "--json"]) == 0
        printed.append(json.loads(capsys.readouterr().out))
    assert printed[0] == printed[1]
    assert printed[0]["y"]["shape"] == [1, 10]


def test_selftest(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", str(workspace / "model.tw"), "--selftest"]) == 0
    assert "passed" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "array", "complaint"),
    [
        ("x", np.zeros((1, 3, 16, 15), "float32"), "16"),
        ("x", np.zeros((1, 3, 16, 16), "float64"), "float64"),
        ("z", np.zeros((1, 3, 16, 16), "float32"), "z"),
        ("x", np.full((1, 3, 16, 16), np.nan, "float32"), "NaN"),
    ],
)
def test_wrong_inputs(
    workspace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, array: np.ndarray, complaint: str
) -> None:
    np.save(tmp_path / "a.npy", array)
    assert main(["run", str(workspace / "model.tw"), "--input", f"{name}={tmp_path / 'a.npy'}"]) == 2
    assert complaint in capsys.readouterr().err


def test_unreadable_files(workspace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.npy").write_text("text")
    assert main(["run", str(workspace / "model.tw"), "--input", str(tmp_path / "a.npy")]) == 2
    assert "a.npy" in capsys.readouterr().err
    assert main(["run", str(tmp_path / "none.tw"), "--input", str(workspace / "x.npy")]) == 2
    assert "none.tw" in capsys.readouterr().err
    data = bytearray((workspace / "model.tw").read_bytes())
    data[5000] ^= 1
    (tmp_path / "bad.tw").write_bytes(data)
    assert main(["run", str(tmp_path / "bad.tw"), "--input", str(workspace / "x.npy")]) == 3
    assert "Traceback" not in capsys.readouterr().err


def test_neither_input_nor_selftest(workspace: Path) -> None:
    assert main(["run", str(workspace / "model.tw")]) == 2


def test_only_files_are_replaced(workspace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    os.mkfifo(tmp_path / "pipe")
    arguments = ["run", str(workspace / "model.tw"), "--input", str(workspace / "x.npy"), "-o", str(tmp_path / "pipe")]
    assert main(arguments) == 2
    assert "not a regular file" in capsys.readouterr().err
    assert (tmp_path / "pipe").is_fifo()


def test_output_folder_missing(workspace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    goal = tmp_path / "none" / "out.npz"
    code = main(["run", str(workspace / "model.tw"), "--input", str(workspace / "x.npy"), "-o", str(goal)])
    assert code != 0
    assert "out.npz" in capsys.readouterr().err
