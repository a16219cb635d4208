"""Counting bytes, the common float model, and rivals that cannot be had."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from benchmarks.rivals.base import OPSET, Rival, RivalError, float_model, parameter_bytes, stacked
from benchmarks.zoo import mnist_bundled


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TILEWRIGHT_CACHE_DIR", str(tmp_path / "cache"))


def test_every_constant_counts_with_its_own_width() -> None:
    packed = helper.make_tensor("four", TensorProto.INT4, [3], b"\x21\x03", raw=True)
    whole = numpy_helper.from_array(np.zeros((2, 5), np.float32), "floats")
    constant = helper.make_node("Constant", [], ["c"], value=numpy_helper.from_array(np.zeros(4, np.int8)))
    graph = helper.make_graph([constant], "g", [], [], [packed, whole])
    assert parameter_bytes(helper.make_model(graph)) == 2 + 40 + 4


def test_the_float_model_is_the_same_function() -> None:
    path = float_model(mnist_bundled.MODEL)
    assert onnx.load(path).opset_import[0].version == OPSET
    x = {"image": np.random.default_rng(0).random((1, 1, 28, 28), np.float32)}
    got, want = (
        ort.InferenceSession(str(file), providers=["CPUExecutionProvider"]).run(None, x)[0]
        for file in (path, mnist_bundled.PATH)
    )
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)  # batch norms folded: single-precision rounding
    # What folding saves is small; nothing else may be lost.
    assert 0.99 < parameter_bytes(onnx.load(path)) / parameter_bytes(onnx.load(mnist_bundled.PATH)) <= 1


def test_samples_are_stacked() -> None:
    feeds = [{"x": np.full((1, 2), value)} for value in (1, 2, 3)]
    assert stacked(feeds)["x"].tolist() == [[1, 1], [2, 2], [3, 3]]


def test_rivals_that_cannot_be_had_say_why(tmp_path: Path) -> None:
    source = tmp_path / "m.onnx"
    source.write_bytes(b"model")
    absent = Rival("absent", "no-such-package", False, lambda *_: None)
    with pytest.raises(RivalError, match="not installed"):
        absent.compress(mnist_bundled.MODEL, source, [])

    def breaks(*_: object) -> None:
        raise KeyError("inside")

    with pytest.raises(RivalError, match="broken: KeyError"):
        Rival("broken", "onnx", False, breaks).compress(mnist_bundled.MODEL, source, [])


def test_results_are_kept_for_the_same_data_only(tmp_path: Path) -> None:
    calls = []

    def make(source: Path, calibration: object, target: Path) -> None:
        calls.append(1)
        target.write_bytes(source.read_bytes())

    source = tmp_path / "m.onnx"
    source.write_bytes(b"model")
    rival = Rival("copy", "onnx", False, make)
    data = [{"x": np.zeros(3)}]
    first = rival.compress(mnist_bundled.MODEL, source, data)
    assert rival.compress(mnist_bundled.MODEL, source, data) == first
    assert len(calls) == 1
    assert rival.compress(mnist_bundled.MODEL, source, [{"x": np.ones(3)}]) != first
