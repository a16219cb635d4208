"""Measuring a network against itself and against a disturbed copy."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper

from benchmarks import evaluation
from benchmarks.evaluation import QUICK, Yardstick
from benchmarks.zoo.base import Accuracy, Array, Model, Run, fraction_right, top1
from tests.models import make_model

WEIGHT = np.random.default_rng(0).standard_normal((8, 5)).astype(np.float32)
COUNT = 100


def network(weight: npt.NDArray[np.float32]) -> onnx.ModelProto:
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"], name="product")]
    return make_model(nodes, {"x": (TensorProto.FLOAT, [1, 8])}, {"y": (TensorProto.FLOAT, [1, 5])}, {"w": weight})


def inputs() -> Iterator[dict[str, Array]]:
    rng = np.random.default_rng(1)
    for _ in range(COUNT):
        yield {"x": rng.standard_normal((1, 8)).astype(np.float32)}


def right(run: Run) -> float:
    labels = [int(np.argmax(feeds["x"] @ WEIGHT)) for feeds in inputs()]
    return fraction_right(run, inputs(), labels)


@pytest.fixture
def yardstick(tmp_path: Path) -> Yardstick:
    return Yardstick(model(tmp_path), tmp_path / "float.onnx")


def model(folder: Path) -> Model:
    onnx.save(network(WEIGHT), folder / "float.onnx")
    return Model(
        "product",
        lambda: folder / "float.onnx",
        {"x": (1, 8)},
        inputs,
        top1,
        (Accuracy("right", right, 1.0, 0.0), Accuracy("again", right, 1.0, 0.0)),
        probes=inputs,
    )


def test_the_float_network_is_at_no_distance_from_itself(yardstick: Yardstick) -> None:
    assert yardstick.figures.scores == {"right": 1.0, "again": 1.0}
    assert yardstick.figures.agreement == 1.0
    assert yardstick.figures.error == 0.0


def test_scaled_outputs_are_as_far_as_the_scale_says(yardstick: Yardstick) -> None:
    """Outputs 1.25 times as large: relative L2 of 0.25, up to single precision, and every decision the same."""
    figures = yardstick.measure(network(1.25 * WEIGHT))
    assert figures.error == pytest.approx(0.25, rel=1e-6)
    assert figures.agreement == 1.0


def test_turned_outputs_lose_decisions(yardstick: Yardstick) -> None:
    figures = yardstick.measure(network(-WEIGHT))
    assert figures.scores["right"] == figures.agreement == 0.0  # what was largest is smallest now


def test_scores_without_a_bar_stand_apart(tmp_path: Path) -> None:
    plain = model(tmp_path)
    extra = Accuracy("on more", plain.accuracy[0].measure, 1.0, 0.0, judged=False)
    figures = Yardstick(dataclasses.replace(plain, accuracy=(*plain.accuracy, extra)), tmp_path / "float.onnx").figures
    assert "on more" not in figures.scores
    assert dict(figures.additional) == {"on more": figures.scores["right"]}


def test_quick(tmp_path: Path) -> None:
    seen = []
    counted = model(tmp_path)

    def count() -> Iterator[dict[str, Array]]:
        for feeds in inputs():
            seen.append(1)
            yield feeds

    quick = Yardstick(Model(**{**vars(counted), "probes": count}), tmp_path / "float.onnx", quick=True)
    assert list(quick.figures.scores) == ["right"]
    assert len(seen) == 2 * QUICK  # once for the float outputs, once to measure


def test_what_onnxruntime_refuses_to_rewrite_runs_as_it_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    given = []

    def session(data: str | bytes, settings: Mapping[str, str]) -> ort.InferenceSession:
        given.append(dict(settings))
        if not settings:
            raise ort.capi.onnxruntime_pybind11_state.Fail("output_dtype INT8 does not match")
        return load(data, settings)

    load = evaluation._session
    monkeypatch.setattr(evaluation, "_session", session)
    x = np.ones((1, 8), np.float32)
    assert evaluation.runner(network(WEIGHT))({"x": x})["y"] == pytest.approx(
        x @ WEIGHT, rel=1e-5
    )  # sums in another order
    assert given == [{}, {"session.disable_quant_qdq": "1"}]


def test_without_probes(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no probes"):
        Yardstick(Model("m", lambda: tmp_path, {}, inputs), tmp_path)
