"""One layer with a compressed weight: a model, and what NumPy says of it in double precision."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir
from onnx import TensorProto, helper

from tests.models import make_model
from tilewright.formats.layouts.dense import Dense
from tilewright.formats.packed import PackedWeight, pack, unpack
from tilewright.formats.registry import parse
from tilewright.passes.dynamic_activations import DynamicActivations
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
    """The weights in a format; ``density`` is for layouts that drop some."""
    return pack(weights, spec, None if parse(spec).layout == Dense() else density)


def encoded(model: onnx.ModelProto, weight: PackedWeight, quantized: str = "") -> ir.Model:
    """The model with its one prunable weight stored so, and activations quantized by their range if "dynamic"."""
    made = ir.from_proto(onnx.shape_inference.infer_shapes(model))
    Encode(lambda found: weight if found.prunable else None)(made)
    if quantized == "dynamic":
        DynamicActivations(lambda _: 8)(made)
    return made


STATIC = (np.float32(1 / 64), np.uint8(130))  # scale and zero point of activations


def integers(rows: int, columns: int, bits: int, group: int = 1) -> Array:
    """Weights that a symmetric codec keeps as they are: every group of columns reaches the greatest integer, so that
    its scale is 1."""
    top = 2 ** (bits - 1) - 1
    values = np.random.default_rng(bits).integers(-top, top + 1, (rows, columns)).astype(np.float32)
    values[:, ::group] = top
    return values


def bytes_of(x: Array, dynamic: bool) -> tuple[Array, np.float32, np.uint8]:
    """ONNX's QuantizeLinear with STATIC, or DynamicQuantizeLinear: bytes, scale and zero point."""
    scale, zero = STATIC
    if dynamic:
        low, high = min(x.min(), np.float32(0)), max(x.max(), np.float32(0))
        scale = np.float32((high - low) / np.float32(255))
        zero = np.uint8(np.clip(np.rint(-low / scale), 0, 255))
    return np.clip(np.rint(x / scale) + np.float32(zero), 0, 255).astype(np.uint8), scale, zero


def _quantized(kind: str) -> tuple[list[onnx.NodeProto], dict[str, Array], str]:
    """Nodes that make bytes of ``x`` and floats of these, their constants, and what the result is called."""
    if kind != "static":
        return [], {}, "x"
    scale, zero = STATIC
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "qs", "qz"], ["q"], name="quantize"),
        helper.make_node("DequantizeLinear", ["q", "qs", "qz"], ["d"], name="dequantize"),
    ]
    return nodes, {"qs": np.asarray(scale), "qz": np.asarray(zero)}, "d"


def product(
    weight: PackedWeight,
    lead: Sequence[int],
    activation: str | None = "Relu",
    residual: bool = False,
    quantized: str = "",
) -> ir.Model:
    """y = activation(x W^T + b [+ r]), x of [*lead, depth], with x "static" or "dynamic" ``quantized``."""
    outputs, depth = weight.shape
    nodes, constants, source = _quantized(quantized)
    nodes.append(helper.make_node("MatMul", [source, "w"], ["p"], name="product"))
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
    weights = {"w": np.ascontiguousarray(unpack(weight).T), "b": activations(outputs, seed=2), **constants}
    model = make_model(nodes, inputs, {"y": (FLOAT, [*lead, outputs])}, weights)
    return encoded(model, weight, quantized)


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


@dataclass(frozen=True)
class Conv:
    """A convolution of ``channels`` on an image, with equal padding on all sides."""

    channels: int
    size: tuple[int, int]
    kernel: tuple[int, int] = (1, 1)
    stride: int = 1
    dilation: int = 1
    padding: int = 0
    batch: int = 1

    @property
    def out(self) -> tuple[int, int]:
        (height, width), (kh, kw) = self.size, self.kernel
        rows, columns = (
            (side + 2 * self.padding - (k - 1) * self.dilation - 1) // self.stride + 1
            for side, k in ((height, kh), (width, kw))
        )
        return rows, columns

    @property
    def depth(self) -> int:
        return self.channels * self.kernel[0] * self.kernel[1]

    @property
    def x(self) -> tuple[int, ...]:
        return (self.batch, self.channels, *self.size)

    def weight(self, matrix: Array) -> Array:
        """OIHW of a matrix whose columns are taps, then channels."""
        return np.ascontiguousarray(matrix.reshape(-1, *self.kernel, self.channels).transpose(0, 3, 1, 2))

    def patches(self, x: Array) -> Array:
        """[batch, *out, depth] of an image, in double precision."""
        p, (rows, columns) = self.padding, self.out
        wide = np.pad(x.astype(np.float64), ((0, 0), (0, 0), (p, p), (p, p)))
        taps = []
        for i in range(self.kernel[0]):
            for j in range(self.kernel[1]):
                top, left = i * self.dilation, j * self.dilation
                bottom, right = top + (rows - 1) * self.stride + 1, left + (columns - 1) * self.stride + 1
                taps.append(wide[:, :, top : bottom : self.stride, left : right : self.stride])
        return np.concatenate(taps, axis=1).transpose(0, 2, 3, 1)


def convolution(weight: PackedWeight, conv: Conv, quantized: str = "") -> ir.Model:
    """y = relu(conv(x, W) + b + r), with x ``quantized`` as for ``product``."""
    outputs = weight.shape[0]
    pads, strides, dilations = [conv.padding] * 4, [conv.stride] * 2, [conv.dilation] * 2
    shape = [conv.batch, outputs, *conv.out]
    first, constants, source = _quantized(quantized)
    nodes = [
        *first,
        helper.make_node("Conv", [source, "w", "b"], ["c"], name="c", pads=pads, strides=strides, dilations=dilations),
        helper.make_node("Add", ["c", "r"], ["s"], name="residual"),
        helper.make_node("Relu", ["s"], ["y"], name="relu"),
    ]
    weights = {"w": conv.weight(unpack(weight)), "b": activations(outputs, seed=2), **constants}
    inputs = {"x": (FLOAT, list(conv.x)), "r": (FLOAT, shape)}
    return encoded(make_model(nodes, inputs, {"y": (FLOAT, shape)}, weights), weight, quantized)


def convolution_reference(weight: PackedWeight, conv: Conv, x: Array, residual: Array) -> tuple[Array, Array]:
    """As ``product_reference``, [batch, outputs, *out]."""
    lead = residual.transpose(0, 2, 3, 1)
    value, size = product_reference(weight, conv.patches(x), lead)
    return value.transpose(0, 3, 1, 2), size.transpose(0, 3, 1, 2)
