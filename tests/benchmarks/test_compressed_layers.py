"""The compressed layers of the static checks: every form has a kernel that reads its weights as they are stored."""

from __future__ import annotations

import itertools

import onnxruntime
import pytest

import tilewright
from benchmarks.compressed_layers import BLOCKS, CODECS, LAYERS, forms, side_by_side


@pytest.mark.parametrize("activations", list(CODECS))
def test_every_layout_with_every_codec(activations: str) -> None:
    every = set(itertools.product(BLOCKS, CODECS[activations]))
    assert {(form.block, form.weights) for form in forms(activations)} == every - {(None, "f32")}


@pytest.mark.parametrize("activations", list(CODECS))
def test_layers_keep_their_formats_side_by_side(activations: str) -> None:
    chosen = forms(activations)[3:16:4]
    model = side_by_side(LAYERS[0], chosen)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    assert len(session.get_outputs()) == len(chosen)
    plan = tilewright.compile(model, "mali-g52").plan
    kernels = {launch.kernel for launch in plan.launches}
    compressed = [name for name in kernels if "compressed" in name or "astc" in name]
    assert (len(compressed), plan.unpacked) == (len(chosen), {})
