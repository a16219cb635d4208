"""The bundled digit classifier, and the demo that shows it."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import onnx
import pytest

from examples.mnist import demo

FOLDER = Path(demo.__file__).parent


@pytest.fixture(scope="module")
def digits() -> tuple[np.ndarray, np.ndarray]:
    with np.load(FOLDER / "digits.npz") as data:
        return data["images"], data["labels"]


def test_what_is_bundled(digits: tuple[np.ndarray, np.ndarray]) -> None:
    images, labels = digits
    assert demo.MODEL.stat().st_size < 1_000_000
    assert images.shape == (500, 28, 28)
    assert images.dtype == np.uint8
    assert np.bincount(labels, minlength=10).min() > 30  # every digit is there
    onnx.checker.check_model(onnx.load(demo.MODEL), full_check=True)


def test_network_is_good_at_its_job(digits: tuple[np.ndarray, np.ndarray]) -> None:
    images, labels = digits
    run = demo.onnxruntime()
    logits = run((images.astype(np.float32) / 255).reshape(-1, 1, 28, 28))  # the batch is free
    assert (logits.argmax(1) == labels).mean() >= 0.99  # 99.5 % of all 10,000; 0.99 is two sigma below for 500


def test_digits_are_mnist_test_digits(digits: tuple[np.ndarray, np.ndarray]) -> None:
    from benchmarks.zoo import mnist
    from benchmarks.zoo.store import FetchError

    try:
        test, train = mnist.test(), mnist.train()
    except FetchError as error:
        pytest.skip(str(error))
    labels = {image.tobytes(): label for image, label in zip(test.images, test.labels, strict=True)}
    seen = {image.tobytes() for image in train.images}
    for image, label in zip(*digits, strict=True):
        assert labels[image.tobytes()] == label
        assert image.tobytes() not in seen


def test_demo_in_a_pipe(capfd: pytest.CaptureFixture[str]) -> None:
    assert demo.main() == 0
    text = capfd.readouterr().out
    assert "Every target agrees with onnxruntime" in text
    assert "500/500" in text
    _, sizes = text.split("bytes in the artifact")
    for line in (line for line in sizes.splitlines() if "cpu" in line or "mali" in line):
        _, artifact, *parts = (
            int(number.replace(",", "")) for number in re.findall(r"-?[\d,]*\d{2,}", line.split("│", 2)[2])
        )
        assert min(parts) > 0
        assert sum(parts) == artifact
    assert "\x1b" not in text  # no colours or cursor movement outside a terminal


def test_demo_reports_wrong_logits(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(demo, "targets", lambda out: ["cpu"])
    right = demo.onnxruntime()
    monkeypatch.setattr(demo, "onnxruntime", lambda: lambda image: 1.01 * right(image))
    assert demo.main() == 5
    assert "differ from onnxruntime" in capfd.readouterr().err
