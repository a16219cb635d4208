"""Sensitivities of activations agree with the network quantized in earnest, one group at a time."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from tests.models import small_cnn
from tests.passes.support import run
from tests.passes.test_quantize_activations import everything, feeds_of, prepared
from tilewright.errors import DataError
from tilewright.passes.activation_sensitivity import activation_sensitivities
from tilewright.passes.calibrate import collect
from tilewright.passes.quantize_activations import QuantizeActivations, observed

DEPTHS = (4, 6, 8)


def logits(model: ir.Model) -> ir.Model:
    """small_cnn without its softmax: deviations are of logits."""
    copy = model.clone()
    softmax = next(node for node in copy.graph if node.op_type == "Softmax")
    assert softmax.inputs[0] is not None
    copy.graph.outputs[0] = softmax.inputs[0]
    return copy


def test_against_the_quantized_network() -> None:
    model = logits(prepared(small_cnn()))
    feeds = feeds_of(model)
    statistics = collect(model, feeds, observed(model, everything))
    groups = activation_sensitivities(model, feeds, everything, statistics, DEPTHS)
    assert [len(group.errors) for group in groups] == [3, 3]
    wanted = [run(model, feed)[0] for feed in feeds]
    for group in groups:
        for bits in DEPTHS:
            copy = model.clone()
            step = QuantizeActivations(lambda node: 16, statistics, depths={group.root: bits})
            step(copy)
            assert sorted(tensor.quantizer.bits for tensor in step.tensors) == [bits, 16]
            assert sorted(layer.bits for layer in step.layers) == [bits, 16]
            got = [run(copy, feed)[0] for feed in feeds]
            error = sum(np.square(b - a).sum() for a, b in zip(wanted, got, strict=True))
            energy = sum(np.square(a).sum() for a in wanted)
            # The other group's 16 bits are not quite float.
            assert group.errors[bits] == pytest.approx(error / energy, rel=0.05)
        assert group.errors[4] > group.errors[6] > group.errors[8] > 0


def test_depths_end_at_the_rules() -> None:
    model = prepared(small_cnn())
    feeds = feeds_of(model)
    statistics = collect(model, feeds, observed(model, everything))
    groups = activation_sensitivities(model, feeds, lambda node: 6, statistics, DEPTHS)
    assert all(list(group.errors) == [4, 6] for group in groups)
    groups = activation_sensitivities(model, feeds, lambda node: 5, statistics, DEPTHS)
    assert all(list(group.errors) == [4, 5] for group in groups)


def test_no_feed() -> None:
    model = prepared(small_cnn())
    statistics = collect(model, feeds_of(model), observed(model, everything))
    with pytest.raises(DataError, match="no calibration data"):
        activation_sensitivities(model, [], everything, statistics, DEPTHS)
