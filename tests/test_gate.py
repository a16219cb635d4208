"""The accuracy gate: which metric, on how many samples, and data that will not do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from tests.models import small_cnn
from tilewright import frontend
from tilewright.errors import DataError
from tilewright.gate import measure
from tilewright.passes.coring import Coring, Rule
from tilewright.passes.execution import runner


@pytest.fixture
def models() -> tuple[ir.Model, ir.Model]:
    """A network, and what is left of it after pruning nearly everything."""
    before = frontend.load(small_cnn())
    after = before.clone()
    Coring(lambda weight: Rule(density=0.01))(after)
    return before, after


def data(path: Path, count: int = 30, **more: np.ndarray) -> Path:
    x = np.random.default_rng(5).standard_normal((count, 3, 16, 16), np.float32)
    np.savez(path, x=x, **more)
    return path


def test_agreement_without_labels(models: tuple[ir.Model, ir.Model], tmp_path: Path) -> None:
    gate = measure(*models, data(tmp_path / "d.npz"), 0.5)
    assert (gate.metric, gate.before, gate.samples) == ("agreement with the float model", 1.0, 30)
    with np.load(tmp_path / "d.npz") as file:
        first, second = (
            [int(next(iter(runner(model)({"x": x[None]}).values())).argmax()) for x in file["x"]] for model in models
        )
    assert gate.after == np.mean(np.equal(first, second))
    assert gate.holds == (1 - gate.after <= 0.5)


def test_accuracy_with_labels(models: tuple[ir.Model, ir.Model], tmp_path: Path) -> None:
    gate = measure(*models, data(tmp_path / "d.npz", labels=np.full(30, 3)), 1.0)
    assert gate.metric == "top-1 accuracy"
    assert gate.holds
    right = measure(models[0], models[0], data(tmp_path / "d.npz", labels=np.full(30, 3)), 0.0)
    assert right.before == right.after == gate.before
    assert "nothing was written" in gate.complaint


def test_fewer_labels_than_samples_count_the_first(models: tuple[ir.Model, ir.Model], tmp_path: Path) -> None:
    assert measure(*models, data(tmp_path / "d.npz", labels=np.zeros(7, int)), 1.0).samples == 7


@pytest.mark.parametrize("labels", [np.zeros(0, int), np.zeros(31, int)])
def test_labels_that_do_not_fit(models: tuple[ir.Model, ir.Model], tmp_path: Path, labels: np.ndarray) -> None:
    with pytest.raises(DataError, match=rf"{len(labels)} labels for 30 samples"):
        measure(*models, data(tmp_path / "d.npz", labels=labels), 1.0)


def test_a_file_that_is_none(models: tuple[ir.Model, ir.Model], tmp_path: Path) -> None:
    (tmp_path / "d.npz").write_bytes(b"no archive")
    with pytest.raises(DataError, match=r"accuracy\.data.*d\.npz"):
        measure(*models, tmp_path / "d.npz", 1.0)
    with pytest.raises(DataError, match=r"nowhere\.npz"):
        measure(*models, tmp_path / "nowhere.npz", 1.0)
