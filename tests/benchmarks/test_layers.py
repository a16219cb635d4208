"""Layers of the speed benchmarks: ONNX that computes what NumPy does, structure that a recipe finds again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from benchmarks.layers import Form, Layer, bound, build, errors, session
from tilewright.runtime import Session

PRODUCT = Layer("product", (3, 40), (32, 40))
CONVOLUTION = Layer("convolution", (1, 8, 6, 5), (32, 8, 3, 3), 1)


@pytest.mark.parametrize("layer", [PRODUCT, CONVOLUTION], ids=lambda layer: layer.name)
def test_models_compute_the_matrix(layer: Layer) -> None:
    matrix = layer.matrix()
    model = layer.model(matrix)
    onnx.checker.check_model(model, full_check=True)
    x = layer.sample()
    (y,) = session(model).run(None, {"x": x})
    assert y.shape == layer.y
    if layer is PRODUCT:
        np.testing.assert_allclose(y, x @ matrix.T + layer.bias(), rtol=0, atol=1e-5)
        assert layer.operations == 2 * 3 * 40 * 32
        return
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    taps = [padded[0, :, i : i + 6, j : j + 5] for i in range(3) for j in range(3)]
    wanted = np.einsum("otc,tcyx->oyx", matrix.reshape(32, 9, 8), np.array(taps)) + layer.bias()[:, None, None]
    np.testing.assert_allclose(y[0], wanted, rtol=0, atol=1e-5)
    assert layer.operations == 2 * 32 * 8 * 9 * 30


def test_bound_calls_give_the_result() -> None:
    runtime, x = session(PRODUCT.model(PRODUCT.matrix())), PRODUCT.sample()
    bound(runtime, {"x": x})()  # raises where a name or a shape is wrong


def test_planted_structure() -> None:
    matrix = PRODUCT.matrix((16, 4), 0.2)
    blocks = (matrix.reshape(2, 16, 10, 4) != 0).any(axis=(1, 3))
    assert blocks.sum(axis=1).tolist() == [2, 2]
    assert np.count_nonzero(matrix) == 2 * 2 * 64


@pytest.mark.parametrize(
    ("form", "error"),
    [
        # 8 bits of weights and of activations err by some 1e-2 together; without quantization only sums are reordered.
        (Form("sparse", (16, 4), 0.2), 1e-6),
        (Form("dynamic", (16, 4), 0.2, "int8", "dynamic"), 3e-2),
        (Form("static", (16, 4), 0.2, "int8", "static"), 3e-2),
    ],
    ids=lambda value: value.name if isinstance(value, Form) else "",
)
def test_errors_are_those_of_encoding(form: Form, error: float, tmp_path: Path) -> None:
    built = build(PRODUCT, form, "cpu", tmp_path)
    with Session(built.path) as ours:
        exactness, found = errors(PRODUCT, built, ours.run({"x": PRODUCT.sample()})["y"])
    assert exactness <= 5e-3 if form.weights else exactness <= 1e-6
    assert found <= error
    assert any("compressed" in kernel for kernel in built.kernels)
    assert built.weight_bytes < built.file_bytes == built.path.stat().st_size


def test_recipes() -> None:
    assert Form("dense").recipe is None
    sparse = Form("", (4, 4), 0.5, "int4", "static").recipe
    assert sparse == {
        "prune": {"density": 0.5, "layout": "block_sparse(4,4)", "pivot": False},
        "quantize": {"weights": "int4", "activations": 8, "dynamic": False},
    }
