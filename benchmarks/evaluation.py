"""How good a compressed network still is: accuracy on labelled data, and how far it is from the float network.

Everything runs in onnxruntime, one sample at a time, on the ONNX that a compressor wrote; the data and the metrics are
the zoo's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort

from benchmarks.zoo.base import Array, Model, Run, single

QUICK = 64  # probes of a quick evaluation


@dataclass(frozen=True)
class Figures:
    """What one network scored.

    Attributes:
        scores: by metric, 0 to 1; the zoo's accuracies.
        agreement: share of decisions on the probes that are the float network's; None where there is nothing to decide.
        error: relative L2 of the outputs to the float network's, all probes together.
        additional: scores that no bar is held against, by metric.
    """

    scores: Mapping[str, float]
    agreement: float | None
    error: float
    additional: Mapping[str, float] = field(default_factory=dict)


class Yardstick:
    """A zoo model's data and its float outputs, against which compressed forms are measured."""

    def __init__(self, model: Model, source: Path, quick: bool = False) -> None:
        """
        Args:
            model: gives data and metrics.
            source: the float ONNX.
            quick: the first figure of accuracy and ``QUICK`` probes only.

        Raises:
            ValueError: the model has no probes.
        """
        if model.probes is None:
            raise ValueError(f"{model.name} has no probes")
        self.model = model
        self._quick = quick
        self._probes = model.probes
        run = runner(source)
        self._expected = [single(run(feeds)) for feeds in self._feeds()]
        self.figures = self.measure(source)

    def measure(self, source: Path | onnx.ModelProto) -> Figures:
        """Runs a form of the network on everything, in onnxruntime."""
        return self.judge(runner(source))

    def judge(self, run: Run) -> Figures:
        """The same with whatever runs it."""
        labels = self.model.labels
        same = total = 0
        difference = energy = 0.0
        for feeds, expected in zip(self._feeds(), self._expected, strict=True):
            outputs = run(feeds)
            got = single(outputs)
            difference += float(np.square(got.astype(np.float64) - expected).sum())
            energy += float(np.square(expected.astype(np.float64)).sum())
            if labels is not None:
                agree = labels(outputs) == labels({name: expected for name in outputs})
                same, total = same + int(agree.sum()), total + agree.size
        metrics = self.model.accuracy[: 1 if self._quick else None]
        judged, additional = (
            {metric.metric: metric.measure(run) for metric in metrics if metric.judged is kind}
            for kind in (True, False)
        )
        return Figures(judged, same / total if total else None, (difference / energy) ** 0.5, additional)

    def _feeds(self) -> Iterator[dict[str, Array]]:
        return islice(iter(self._probes()), QUICK if self._quick else None)


def _session(data: str | bytes, settings: Mapping[str, str]) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.log_severity_level = 3
    for key, value in {"session.intra_op.allow_spinning": "0", **settings}.items():
        options.add_session_config_entry(key, value)
    return ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])


def runner(source: Path | onnx.ModelProto) -> Run:
    """A network in onnxruntime: feeds to outputs, by name."""
    data = str(source) if isinstance(source, Path) else source.SerializeToString()
    try:
        session = _session(data, {})
    except ort.capi.onnxruntime_pybind11_state.Fail:
        # onnxruntime 1.31 refuses some of what its own rewriting of quantizers made; as they stand they run
        session = _session(data, {"session.disable_quant_qdq": "1"})
    names = [output.name for output in session.get_outputs()]

    def run(feeds: dict[str, Array]) -> dict[str, Array]:
        return dict(zip(names, session.run(None, feeds), strict=True))

    return run
