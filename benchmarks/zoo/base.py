"""What a zoo model is: where its ONNX comes from, the shapes it is compiled at, inputs, and its accuracy."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Run = Callable[[dict[str, Array]], dict[str, Array]]  # a whole-model call, inputs and outputs by name


@dataclass(frozen=True)
class Accuracy:
    """How good a model is at its job.

    Attributes:
        metric: what is counted, on which data; ends in the number of samples.
        measure: gives the score of a run, between 0 and 1; higher is better.
        expected: the score with onnxruntime, found when this file was written.
        tolerance: how far another score may lie from `expected`. Scores of one run of the same fp32 network differ only
            where two candidates are within rounding of each other, so this is one or two samples.
        judged: whether compressed networks are held to the score; others are shown beside it.
    """

    metric: str
    measure: Callable[[Run], float]
    expected: float
    tolerance: float
    judged: bool = True


@dataclass(frozen=True)
class Model:
    """One trained network.

    Attributes:
        onnx: fetches or builds the model and gives its path.
        shapes: the static shape of every input.
        samples: inputs for the comparison with another runtime.
        labels: the decision read from the outputs (class, character, mask); None where there is none.
        accuracy: the quickest first; empty where no labelled data could be had.
        calibration: inputs to fit value ranges on; None where none were needed yet. They share no datum with the rest.
        broad: more and more various inputs to calibrate on than ``calibration``, for rounding in sequence, which would
            fit itself to a few photographs; None where those are various already.
        probes: inputs on which a compressed network's outputs and decisions are compared with the float network's.
    """

    name: str
    onnx: Callable[[], Path]
    shapes: Mapping[str, tuple[int, ...]]
    samples: Callable[[], Iterable[dict[str, Array]]]
    labels: Callable[[dict[str, Array]], Array] | None = None
    accuracy: tuple[Accuracy, ...] = ()
    calibration: Callable[[], Iterable[dict[str, Array]]] | None = None
    probes: Callable[[], Iterable[dict[str, Array]]] | None = None
    broad: Callable[[], Iterable[dict[str, Array]]] | None = None


def single(outputs: Mapping[str, Array]) -> Array:
    """The only output of a model."""
    (value,) = outputs.values()
    return value


def top1(outputs: dict[str, Array]) -> Array:
    """The best class along the last axis of the only output."""
    return np.asarray(np.argmax(single(outputs), axis=-1))


def fraction_right(run: Run, samples: Iterable[dict[str, Array]], labels: Iterable[int]) -> float:
    """Top-1 accuracy over samples of batch 1."""
    return float(np.mean([top1(run(x)).item() == label for x, label in zip(samples, labels, strict=True)]))
