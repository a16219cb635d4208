"""The digit classifier bundled in examples/mnist, on the full test set; digits as 0 to 1."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from benchmarks.zoo import mnist
from benchmarks.zoo.base import Accuracy, Array, Model, Run, fraction_right, top1

PATH = Path(__file__).resolve().parents[2] / "examples" / "mnist" / "mnist.onnx"
COUNT = 10_000


def _inputs(count: int, digits: Callable[[], mnist.Digits] = mnist.test) -> Iterator[dict[str, Array]]:
    for image in digits().images[:count]:
        yield {"image": (image.astype(np.float32) / 255).reshape(1, 1, 28, 28)}


def _accuracy(run: Run) -> float:
    return fraction_right(run, _inputs(COUNT), mnist.test().labels[:COUNT].tolist())


MODEL = Model(
    name="mnist-bundled",
    onnx=lambda: PATH,
    shapes={"image": (1, 1, 28, 28)},
    samples=lambda: _inputs(32),
    labels=top1,
    accuracy=(Accuracy(f"top-1 on MNIST test, {COUNT} digits", _accuracy, 0.994, 0.0002),),
    calibration=lambda: _inputs(mnist.CALIBRATION, mnist.train),
    probes=lambda: _inputs(mnist.PROBES),
)
