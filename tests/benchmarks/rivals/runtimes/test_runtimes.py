"""Rivals that run layers: what each computes is the layer, within the error of its weights."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.layers import Layer, session
from benchmarks.rivals.base import RivalError
from benchmarks.rivals.runtimes import RUNTIMES
from tilewright.numeric import relative_l2

PRODUCT = Layer("product", (2, 128), (64, 128))
CONVOLUTION = Layer("convolution", (1, 16, 8, 8), (32, 16, 3, 3), 1)

ERRORS = {"int8": 4e-2, "int4": 3e-1}
"""int8 weights and activations: 1/127 of the greatest of some thousand; int4 with one scale an output: 1/7 of it."""


@pytest.mark.filterwarnings("ignore:.*:DeprecationWarning")  # their own
@pytest.mark.filterwarnings("ignore:.*:FutureWarning")
@pytest.mark.parametrize("layer", [PRODUCT, CONVOLUTION], ids=lambda layer: layer.name)
@pytest.mark.parametrize("name", [name for name in RUNTIMES if name != "clblast"])
def test_computes_the_layer(name: str, layer: Layer) -> None:
    try:
        ready = RUNTIMES[name](layer)
    except RivalError as error:
        pytest.skip(str(error))
    (wanted,) = session(layer.model(ready.matrix)).run(None, {"x": layer.sample()})
    ready.run()
    got = np.asarray(ready.result())
    assert got.shape == wanted.shape
    assert relative_l2(got, wanted) <= ERRORS.get(name.rpartition("-")[2], 1e-5)
