"""The compression table on the bundled digit classifier and its 500 digits, which need no download."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest

import tilewright
from benchmarks import compression as table
from benchmarks.compression import Bench, Setting, alexnet_2012, heading, line, main, stored_bytes
from benchmarks.compression_bars import OURS, Row
from benchmarks.zoo import mnist_bundled
from benchmarks.zoo.base import Accuracy, Array, Model, Run, fraction_right, top1
from tilewright import compression, frontend
from tilewright.formats.packed import pack
from tilewright.passes.weights import weights_in

DIGITS = Path(__file__).resolve().parents[2] / "examples" / "mnist" / "digits.npz"
MEASURED = 100


def images(part: slice) -> Iterator[dict[str, Array]]:
    with np.load(DIGITS) as digits:
        for image in digits["images"][part]:
            yield {"image": (image.astype(np.float32) / 255).reshape(1, 1, 28, 28)}


def right(run: Run) -> float:
    with np.load(DIGITS) as digits:
        labels = digits["labels"][:MEASURED].tolist()
    return fraction_right(run, images(slice(MEASURED)), labels)


MODEL = Model(
    name="digits",
    onnx=lambda: mnist_bundled.PATH,
    shapes={"image": (1, 1, 28, 28)},
    samples=lambda: images(slice(4)),
    labels=top1,
    accuracy=(Accuracy("top-1, 100 digits", right, 1.0, 0.0),),
    calibration=lambda: images(slice(400, 432)),
    probes=lambda: images(slice(MEASURED)),
)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TILEWRIGHT_CACHE_DIR", str(tmp_path / "cache"))


@pytest.fixture
def bench() -> Bench:
    return Bench(MODEL, quick=False, artifacts=False)


def test_a_row_of_ours(bench: Bench) -> None:
    """The network has 165,642 parameters; 4 bits a weight and a scale a row make about an eighth of 4 bytes each."""
    reference, row = bench.reference(), bench.ours(Setting("uniform4", {"quantize": {"weights": "int4"}}))
    assert reference.figures is not None
    assert row.figures is not None
    assert 1 / 8 < row.weight_bytes / reference.weight_bytes < 1 / 7
    assert row.file_bytes > row.weight_bytes
    assert reference.figures.error == 0
    assert 0 < row.figures.error < 0.3
    assert row.figures.scores["top-1, 100 digits"] > 0.95


def test_a_recipe_that_cannot_be_done_is_a_row_with_a_reason(bench: Bench) -> None:
    row = bench.ours(Setting("wrong", {"quantize": {"weights": "int99"}}))
    assert row.figures is None
    assert "int99" in row.problem
    assert row.problem in line(row)


def test_coded_arrays_count_as_in_the_artifact(bench: Bench) -> None:
    """Independent count: every weight packed by itself, in the form that a target without kernels of its own stores."""
    recipe = {"quantize": {"weights": "int4"}, "storage": {"entropy": True}}
    made = compression.run(bench.source, recipe)
    proto = made.to_proto()
    matrices = [weight.matrix for weight in weights_in(frontend.load(bench.source, {}).graph)]
    raw, coded = (sum(pack(matrix, spec).nbytes for matrix in matrices) for spec in ("int4", "int4 entropy"))
    assert coded < raw == sum(layer.bytes for layer in made.report.layers)
    assert table.parameter_bytes(proto) - stored_bytes(made, proto) == raw - coded
    # Kernels want whole vectors of outputs, which the last layer's ten are not: its 480 bytes are 768 there.
    in_file = tilewright.compile(bench.source, "cpu", recipe=recipe).report
    total = sum(layer.bytes for layer in in_file.layers)
    assert total < raw
    assert abs(total - coded) < 768


def test_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(table, "MODELS", {"digits": MODEL})
    written = tmp_path / "out.json"
    code = main(["--no-rivals", "--no-alexnet", "--formats", "int8", "uniform5", "--json", str(written)])
    results = json.loads(written.read_text())
    assert [row["name"] for row in results["rows"]] == ["float", "int8", "uniform5"]
    assert code == (0 if all(bar["holds"] for bar in results["bars"]) else 1)
    assert len(results["bars"]) == 1  # int8 near float; nothing to compare uniform depth with
    out = capsys.readouterr().out
    assert "top-1, 100 digits" in out
    assert "int8" in out


def test_a_network_that_fails_costs_no_other_its_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> Path:
        raise OSError("no such package")

    broken = dataclasses.replace(MODEL, name="broken", onnx=fail)
    monkeypatch.setattr(table, "MODELS", {"broken": broken, "digits": MODEL})
    written = tmp_path / "out.json"
    assert main(["--no-rivals", "--no-alexnet", "--quick", "--formats", "weights8", "--json", str(written)]) == 1
    results = json.loads(written.read_text())
    assert [row["name"] for row in results["rows"]] == ["float", "weights8"]
    assert [bar["figure"] for bar in results["bars"]] == ["OSError: no such package"]
    assert "OSError: no such package" in capsys.readouterr().out


def test_columns_line_up() -> None:
    row = Row("net", "int8", OURS, True, 1, 2, 3, 0.5, Bench(MODEL, True, False).yardstick.figures)
    assert len(line(row)) == len(list(heading(MODEL, ["top-1"]))[-1])


def test_alexnet_has_the_published_number_of_weights() -> None:
    tensors = alexnet_2012().graph.initializer
    assert sum(int(np.prod(tensor.dims)) for tensor in tensors if len(tensor.dims) > 1) == 60_954_656
    assert all(tensor.data_type == onnx.TensorProto.FLOAT for tensor in tensors)


def test_an_unknown_format_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["--formats", "int3"])
    assert stop.value.code == 2
    assert "codebook4" in capsys.readouterr().err
