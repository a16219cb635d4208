"""One layer with a compressed weight: a model, and what NumPy says of it in double precision."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir
from onnx import TensorProto, helper

from tests.models import make_model
from tilewright.formats.packed import PackedWeight, pack, unpack
from tilewright.passes.encode import Encode

FLOAT = TensorProto.FLOAT
Array = npt.NDArray[Any]


def matrix(rows: int, columns: int, seed: int = 0) -> Array:
    """Normal weights, of which some exact zeros."""
    rng = np.random.default_rng(seed)
    values = rng.standard_normal((rows, columns)).astype(np.float32)
    values[rng.random((rows, columns)) < 0.1] = 0
    return values


def activations(*shape: int, seed: int = 1) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def packed(weights: Array, spec: str, density: float | None = None) -> PackedWeight:
    """The weights in a format; ``density`` is given for sparse ones."""
    return pack(weights, spec, density if "sparse" in spec else None)


def encoded(model: onnx.ModelProto, weight: PackedWeight) -> ir.Model:
    """The model with its one prunable weight stored so."""
    made = ir.from_proto(onnx.shape_inference.infer_shapes(model))
    Encode(lambda found: weight if found.prunable else None)(made)
    return made


def product(
    weight: PackedWeight, lead: Sequence[int], activation: str | None = "Relu", residual: bool = False
) -> ir.Model:
    """y = activation(x W^T + b [+ r]), x of [*lead, depth]."""
    outputs, depth = weight.shape
    nodes = [helper.make_node("MatMul", ["x", "w"], ["p"], name="product")]
    nodes.append(helper.make_node("Add", ["p", "b"], ["s"], name="bias"))
    last = "s"
    inputs = {"x": (FLOAT, [*lead, depth])}
    if residual:
        nodes.append(helper.make_node("Add", ["s", "r"], ["t"], name="residual"))
        inputs["r"] = (FLOAT, [*lead, outputs])
        last = "t"
    if activation:
        nodes.append(helper.make_node(activation, [last], ["y"], name="activation"))
    else:
        nodes[-1].output[0] = "y"
    weights = {"w": np.ascontiguousarray(unpack(weight).T), "b": activations(outputs, seed=2)}
    model = make_model(nodes, inputs, {"y": (FLOAT, [*lead, outputs])}, weights)
    return encoded(model, weight)


def product_reference(
    weight: PackedWeight, x: Array, residual: Array | None = None, relu: bool = True
) -> tuple[Array, Array]:
    """The product in double precision, and the sum of the magnitudes of all terms, which bounds rounding."""
    w = unpack(weight).astype(np.float64)
    bias = activations(weight.shape[0], seed=2).astype(np.float64)
    wide = x.astype(np.float64)
    value = wide @ w.T + bias
    size = np.abs(wide) @ np.abs(w.T) + np.abs(bias)
    if residual is not None:
        value, size = value + residual, size + np.abs(residual)
    return (np.maximum(value, 0) if relu else value), size


def assert_close(got: Array, wanted: tuple[Array, Array], unit: float = 2.0**-23, terms: int = 64) -> None:
    """Equal up to ``terms`` roundings of the sum of magnitudes: float32 sums of a few hundred terms in any order, whose
    errors mostly cancel."""
    value, size = wanted
    np.testing.assert_array_less(np.abs(got.astype(np.float64) - value), terms * unit * size + 1e-30)
