"""The static check of Jetson kernels on a small network, and its verdict on a kernel that spills."""

from __future__ import annotations

import json
from pathlib import Path

import onnx
import pytest

from benchmarks import compressed_layers, ptxas
from tests.models import small_cnn
from tilewright.errors import ToolError
from tilewright.targets.nvrtc import Resources, wheel_folder


@pytest.fixture
def model(tmp_path: Path) -> str:
    for package in ("cuda_nvrtc", "cuda_nvcc"):
        try:
            wheel_folder(package)
        except ToolError:
            pytest.skip("no CUDA compiler; install it with: pip install tilewright[cuda]")
    onnx.save(small_cnn(), tmp_path / "small.onnx")
    return str(tmp_path / "small.onnx")


def run(model: str, tmp_path: Path, option: str = "--models") -> tuple[int, dict[str, object]]:
    arguments = [option, model, "--devices", "jetson-orin", "--precisions", "fp32"]
    code = ptxas.main([*arguments, "--json", str(tmp_path / "rows.json")])
    (row,) = json.loads((tmp_path / "rows.json").read_text())
    return code, row


def test_a_small_network_is_sound(model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, row = run(model, tmp_path)
    assert (code, row["spill_bytes"], row["unsound"], row["error"]) == (0, 0, {}, "")
    assert isinstance(row["kernels"], int)
    assert row["kernels"] >= 4  # convolution, pooling, product, softmax
    assert "not device time" in capsys.readouterr().out


@pytest.mark.usefixtures("model")
def test_compressed_layers_in_place_of_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compressed_layers, "CODECS", {"float": ("int4",)})
    code, row = run("product-1", tmp_path, "--layers")
    assert (code, row["model"], row["unpacked"], row["unsound"]) == (0, "product-1-float", {}, {})
    assert row["kernels"] == len(compressed_layers.BLOCKS)


def test_a_spill_fails_and_is_named(model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spilling = {"conv_kernel": Resources(registers=255, spill_bytes=8, stack_bytes=8, shared_bytes=0)}
    monkeypatch.setattr(ptxas, "kernel_resources", lambda ptx, arch: spilling)
    code, row = run(model, tmp_path)
    assert (code, list(row["unsound"])) == (1, ["conv_kernel"])
