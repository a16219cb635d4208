"""A model file and its artifact, made once by the command line itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from tests.models import small_cnn
from tilewright.cli import main


@pytest.fixture(scope="session")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """model.onnx, model.tw (with self-test) and x.npy."""
    folder = tmp_path_factory.mktemp("commands")
    onnx.save(small_cnn(), folder / "model.onnx")
    np.save(folder / "x.npy", np.random.default_rng(1).standard_normal((1, 3, 16, 16)).astype("float32"))
    assert main(["compile", str(folder / "model.onnx"), "-o", str(folder / "model.tw"), "--selftest"]) == 0
    return folder
