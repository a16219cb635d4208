"""Compiles a small model, runs it on this machine and gives onnxruntime's answer beside it."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest

import tilewright
from tilewright.errors import UsageError
from tilewright.runtime import Session
from tilewright.targets.cpu import host_device

Arrays = dict[str, npt.NDArray[np.generic]]
LEVELS = ("cpu-avx2", "cpu-avx512", "cpu-vnni")  # oldest first


def levels_here() -> list[str]:
    """The x86-64 cpu levels that this machine can run; the host's own device elsewhere."""
    try:
        best = host_device()
    except UsageError as error:
        pytest.skip(str(error))
    return list(LEVELS[: LEVELS.index(best) + 1]) if best in LEVELS else [best]


def run(model: onnx.ModelProto, feeds: Mapping[str, npt.ArrayLike], target: str, threads: int = 1) -> Arrays:
    """The outputs of the model compiled for ``target``, through a file and the runtime."""
    artifact = tilewright.compile(model, target=target)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.tw"
        artifact.save(path)
        with Session(path, threads=threads, allow_nan=True) as session:
            return {name: value.copy() for name, value in session.run(feeds).items()}


def expected(model: onnx.ModelProto, feeds: Mapping[str, npt.ArrayLike]) -> Arrays:
    """onnxruntime's outputs."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return dict(zip((o.name for o in session.get_outputs()), session.run(None, dict(feeds)), strict=True))


def check(
    model: onnx.ModelProto, feeds: Mapping[str, npt.ArrayLike], target: str, rtol: float = 1e-5, threads: int = 1
) -> None:
    """Our outputs equal onnxruntime's. ``rtol`` is relative to the largest element: two float32 sums of the same terms
    in another order differ by that much where terms cancel, whatever the element's own size."""
    got = run(model, feeds, target, threads)
    for name, wanted in expected(model, feeds).items():
        assert got[name].dtype == wanted.dtype
        assert got[name].shape == wanted.shape
        if wanted.dtype.kind == "f":
            scale = float(np.abs(wanted[np.isfinite(wanted)]).max(initial=0.0))
            np.testing.assert_allclose(got[name], wanted, rtol=0, atol=rtol * scale + 1e-30)
        else:
            np.testing.assert_array_equal(got[name], wanted)
