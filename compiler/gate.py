"""The accuracy gate: how much a compression costs on data of the user's own, measured by onnxruntime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from tilewright import calibration
from tilewright.errors import DataError
from tilewright.passes.execution import runner
from tilewright.report import GateReport

LABELS = "labels"


def measure(before: ir.Model, after: ir.Model, data: Path, max_drop: float) -> GateReport:
    """Compares two models of the same inputs on the samples of an .npz file.

    The decision for a sample is the largest value along the last axis of the first output. With an array ``labels``
    (integers, one a sample) the metric is top-1 accuracy, else agreement with the model before.

    Raises:
        DataError: the file is no such thing, or a model puts out NaN.
    """
    try:
        with np.load(data, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (OSError, ValueError) as error:
        raise DataError(f"accuracy.data: {data}: {error}") from None
    labels = arrays.pop(LABELS, None)
    feeds = calibration.load(arrays, calibration.inputs_of(before))
    decisions = [np.concatenate([_decide(run(feed)) for feed in feeds]) for run in (runner(before), runner(after))]
    metric, truth = (
        ("top-1 accuracy", labels) if labels is not None else ("agreement with the float model", decisions[0])
    )
    count = len(truth)
    if count > len(decisions[0]) or not count:
        raise DataError(f"accuracy.data: {data}: {count} labels for {len(decisions[0])} samples")
    scores = [float(np.mean(decided[:count] == truth)) for decided in decisions]
    return GateReport(metric, scores[0], scores[1], max_drop, count)


def _decide(outputs: dict[str, npt.NDArray[np.generic]]) -> npt.NDArray[np.intp]:
    first = next(iter(outputs.values()))
    if not np.isfinite(first.astype(np.float64)).all():
        raise DataError("accuracy.data: the model puts out NaN or infinity")
    return np.asarray(first.argmax(axis=-1)).reshape(-1)
