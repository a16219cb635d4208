"""mnist-conv: the two-convolution digit classifier that qonnx ships (opset 8, 6 k parameters); digits as 0 to 255."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from benchmarks.zoo import mnist
from benchmarks.zoo.base import Accuracy, Array, Model, Run, fraction_right, top1
from benchmarks.zoo.store import pypi_file

COUNT = 10_000


def _inputs(count: int, digits: Callable[[], mnist.Digits] = mnist.test) -> Iterator[dict[str, Array]]:
    for image in digits().images[:count]:
        yield {"Input3": image.astype(np.float32).reshape(1, 1, 28, 28)}


def _accuracy(run: Run) -> float:
    return fraction_right(run, _inputs(COUNT), mnist.test().labels[:COUNT].tolist())


MODEL = Model(
    name="mnist-conv",
    onnx=lambda: pypi_file("qonnx", "1.0.0", "qonnx/data/onnx/mnist-conv/model.onnx"),
    shapes={"Input3": (1, 1, 28, 28)},
    samples=lambda: _inputs(32),
    labels=top1,
    accuracy=(Accuracy(f"top-1 on MNIST test, {COUNT} digits", _accuracy, 0.9891, 0.0002),),
    calibration=lambda: _inputs(mnist.CALIBRATION, mnist.train),
    probes=lambda: _inputs(mnist.PROBES),
)
