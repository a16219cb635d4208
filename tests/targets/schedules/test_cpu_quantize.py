"""Kernels that quantize activations, byte for byte as onnxruntime's DynamicQuantizeLinear and NumPy do."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper
from tvm import relax

from tests.models import make_model
from tests.targets.running import levels_here
from tilewright.artifact import Artifact
from tilewright.lower import pipeline
from tilewright.lower.dynamic_quantize import dynamic_quantize
from tilewright.lower.tvm_setup import fast_tvmscript
from tilewright.runtime import Session
from tilewright.targets import resolve

Array = npt.NDArray[Any]
OUTPUTS = ("q", "scale", "zero")


def quantizer(shape: tuple[int, ...], device: str) -> Session:
    """The kernel alone: x to q, scale, zero."""
    builder = relax.BlockBuilder()
    x = relax.Var("x", relax.TensorType(shape, "float32"))
    types = [relax.TensorType(shape, "uint8"), relax.TensorType((), "float32"), relax.TensorType((), "uint8")]
    with builder.function("main", [x]):
        with builder.dataflow():
            results = builder.emit(
                relax.call_tir(builder.add_func(dynamic_quantize(shape), "quantize"), [x], out_ty=types)
            )
            parts = [builder.emit(relax.TupleGetItem(results, place)) for place in range(3)]
            out = builder.emit_output(relax.Tuple(parts))
        builder.emit_func_output(out)
    with fast_tvmscript():
        plan = pipeline.lower(builder.get(), resolve(device), ["x"], list(OUTPUTS))
    return Session(Artifact(plan, {"model": {}, "target": {}}).to_bytes(), allow_nan=True)


def reference(x: Array) -> list[Array]:
    """onnxruntime's own kernel."""
    node = helper.make_node("DynamicQuantizeLinear", ["x"], list(OUTPUTS))
    kinds = (TensorProto.UINT8, TensorProto.FLOAT, TensorProto.UINT8)
    outputs = {name: (kind, list(x.shape) if name == "q" else []) for name, kind in zip(OUTPUTS, kinds, strict=True)}
    model = make_model([node], {"x": (TensorProto.FLOAT, list(x.shape))}, outputs)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return list(session.run(None, {"x": x}))


def numpy_reference(x: Array) -> list[Array]:
    """What ONNX's definition says, in float32."""
    low, high = np.float32(min(x.min(), 0)), np.float32(max(x.max(), 0))
    scale = (high - low) / np.float32(255) if high > low else np.float32(1)
    zero = np.clip(np.rint(-low / scale), 0, 255)
    q = np.clip(np.rint(x / scale) + zero, 0, 255)
    return [q.astype(np.uint8), np.asarray(scale), zero.astype(np.uint8)]


@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.sampled_from([(1,), (7,), (64,), (130,), (3, 37), (2, 3, 5, 7), (1, 1000)]),
    st.sampled_from([1.0, 1e-3, 1e3, 1e-30, 1e30]),
    st.sampled_from([0.0, 3.0, -3.0, 100.0]),
    st.integers(0, 2),
    st.integers(0, 99),
)
def test_dynamic_equals_onnxruntime(shape: tuple[int, ...], size: float, shift: float, level: int, seed: int) -> None:
    levels = levels_here()
    x = ((np.random.default_rng(seed).standard_normal(shape) + shift) * size).astype(np.float32)
    with quantizer(shape, levels[level % len(levels)]) as session:
        got = session.run({"x": x})
    for name, by_definition, theirs in zip(OUTPUTS, numpy_reference(x), reference(x), strict=True):
        np.testing.assert_array_equal(got[name], by_definition, strict=True, err_msg=name)
        np.testing.assert_array_equal(got[name], theirs, err_msg=name)


@pytest.mark.parametrize("level", [0, 1, 2])
def test_halves_go_to_even_and_nothing_overflows(level: int) -> None:
    """Multiples of half a step meet every tie; constants, zeros and tiny values are edges of the formula."""
    levels = levels_here()
    steps = np.arange(-255, 256, dtype=np.float32) / 2
    ties = np.concatenate([steps, [-100, 155]]).astype(np.float32)  # the scale is exactly 1
    cases = [ties, ties * 4, np.zeros_like(ties), np.full_like(ties, 5), np.full_like(ties, -5)]
    cases += [np.full_like(ties, 1e-38), ties * np.float32(1e-40), ties * np.float32(1e36)]
    with quantizer(ties.shape, levels[level % len(levels)]) as session:
        for x in cases:
            got = session.run({"x": x})
            for name, wanted in zip(OUTPUTS, numpy_reference(x), strict=True):
                np.testing.assert_array_equal(got[name], wanted, err_msg=name)
