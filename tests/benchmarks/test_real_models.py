"""The comparison of real models: its bars, and the smaller models themselves on every target that runs here.

The larger ones take minutes: `make models`.
"""

from __future__ import annotations

import dataclasses
import math

import pytest

from benchmarks.real_models import Reference, Result, Score, main, measure
from benchmarks.zoo import ZOO
from benchmarks.zoo.store import FetchError
from tilewright.runtime import devices

SMALL = ("mnist-conv", "magika", "silero-vad-ifless")


@pytest.mark.parametrize("target", ["cpu", "mali"])
@pytest.mark.parametrize("name", SMALL)
def test_model_agrees_with_onnxruntime(name: str, target: str) -> None:
    if target == "mali" and not any(device.backend == "opencl" for device in devices()):
        pytest.skip("no OpenCL driver: apt-get install pocl-opencl-icd")
    (model,) = [model for model in ZOO if model.name == name]
    try:
        model.onnx()
        next(iter(model.samples()))
    except FetchError as error:
        pytest.skip(str(error))
    result = measure(Reference(model), target, figures=0, samples=3)
    assert result.holds, result


GOOD = Result("m", "t", error=1e-6, labels=4, labels_same=4, scores=[Score("s", 0.9, 0.9, 0.9, 0.01)])


def test_bars() -> None:
    def holds(**changes: object) -> bool:
        return dataclasses.replace(GOOD, **changes).holds  # type: ignore[arg-type]

    assert GOOD.holds
    assert not holds(problem="does not compile")
    assert not holds(error=math.nan)
    assert not holds(labels_same=3)
    assert holds(error=2e-4, doubtful=[(1e-4, 2e-4)])  # onnxruntime is farther from the truth
    assert not holds(error=2e-4, doubtful=[(2e-4, 1e-4)])
    assert not holds(error=2e-4, doubtful=[(math.nan, 1e-4)])
    assert not holds(scores=[Score("s", 0.9, 0.88, 0.9, 0.01)])
    assert not holds(scores=[Score("s", 0.8, 0.8, 0.9, 0.01)])  # onnxruntime itself no longer scores as noted


def test_unknown_model(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["--models", "alexnet"])
    assert stop.value.code == 2
    assert "minilm-l6-v2" in capsys.readouterr().err
