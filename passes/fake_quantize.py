"""Quantizers of activations, and the nodes that apply them.

A quantizer maps x to (clip(round(x / scale) + zero_point, low, high) - zero_point) * scale, ties to even, with one
scale a tensor and integers [low, high] of 4 to 16 bits. 8 bits can be a standard pair of QuantizeLinear and
DequantizeLinear, so that any runtime may fuse integer kernels. Every depth can be the operator tilewright.FakeQuantize,
whose function body says the same in float operators; float32 holds these integers exactly.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir

from tilewright.passes.add_constant import add_constant

Array = npt.NDArray[Any]

DOMAIN = "tilewright"
FAKE_QUANTIZE = "FakeQuantize"
BITS = range(4, 17)

_LEAST_SCALE = float(np.finfo(np.float32).tiny)
OPSET = 13  # the least that has these operators with these meanings


@dataclass(frozen=True)
class Quantizer:
    """One uniform quantizer.

    Attributes:
        bits: 4 to 16.
        signed: integers are [-2**(bits-1), 2**(bits-1)-1], or else [0, 2**bits-1].
        scale: representable in float32.
        zero_point: the integer that stands for zero.
    """

    bits: int
    signed: bool
    scale: float
    zero_point: int

    @property
    def low(self) -> int:
        """The least integer."""
        return -(1 << self.bits - 1) if self.signed else 0

    @property
    def high(self) -> int:
        """The greatest integer."""
        return self.low + (1 << self.bits) - 1

    def integers(self, x: Array) -> npt.NDArray[np.float32]:
        """float32 integers in [low, high], as the nodes compute them."""
        quotient = np.rint(np.asarray(x, np.float32) / np.float32(self.scale))
        result: npt.NDArray[np.float32] = np.clip(quotient + np.float32(self.zero_point), self.low, self.high)
        return result

    def apply(self, x: Array) -> npt.NDArray[np.float32]:
        """What comes back."""
        result: npt.NDArray[np.float32] = (self.integers(x) - np.float32(self.zero_point)) * np.float32(self.scale)
        return result


def fit(low: float, high: float, bits: int, signed: bool | None = None, symmetric: bool = False) -> Quantizer:
    """The quantizer of a range, widened to hold zero; zero is represented exactly.

    Args:
        low, high: the range, not both zero.
        signed: None chooses by the range: unsigned integers where nothing is negative.
        symmetric: zero point 0: a range with negative values gets equal sides.
    """
    low, high = min(low, 0.0), max(high, 0.0)
    if signed is None or symmetric:
        signed = low < 0
    lowest = Quantizer(bits, signed, 1.0, 0).low
    if symmetric:
        side = max(-low, high)
        levels = 2 ** (bits - 1) - 1 if signed else 2**bits - 1
        return Quantizer(bits, signed, _scale(side / levels), 0)
    scale = _scale((high - low) / (2**bits - 1))
    return Quantizer(bits, signed, scale, lowest + round(-low / scale))


def _scale(value: float) -> float:
    return max(float(np.float32(value)), _LEAST_SCALE)


def apply_quantizer(
    model: ir.Model, value: ir.Value, quantizer: Quantizer, name: str, standard: bool = True
) -> list[ir.Node]:
    """Nodes that quantize a value and bring it back; the last one's output stands for the value. Not yet in the graph.

    Constants, opset imports and the function body are added to the model. ``standard`` asks for the pair at 8 bits.
    """
    graph = model.graph
    if quantizer.bits == 8 and standard:
        integer = np.dtype(np.int8 if quantizer.signed else np.uint8)
        scale = add_constant(graph, f"{name}_scale", np.float32(quantizer.scale))
        zero = add_constant(graph, f"{name}_zero_point", integer.type(quantizer.zero_point))
        quantize = ir.node("QuantizeLinear", [value, scale, zero], name=f"{name}_quantize")
        quantize.outputs[0].name = f"{name}_integers"
        quantize.outputs[0].dtype = ir.DataType.INT8 if quantizer.signed else ir.DataType.UINT8
        last = ir.node("DequantizeLinear", [quantize.outputs[0], scale, zero], name=f"{name}_dequantize")
        nodes = [quantize, last]
    else:
        define(model)
        scale = add_constant(graph, f"{name}_scale", np.float32(quantizer.scale))
        zero = add_constant(graph, f"{name}_zero_point", np.float32(quantizer.zero_point))
        attributes = {"bits": quantizer.bits, "signed": int(quantizer.signed)}
        last = ir.node(FAKE_QUANTIZE, [value, scale, zero], attributes, domain=DOMAIN, name=f"{name}_quantize")
        nodes = [last]
    last.outputs[0].name = f"{name}_quantized"
    last.outputs[0].type = value.type
    for node in nodes:
        node.outputs[0].shape = value.shape
    return nodes


def define(model: ir.Model) -> None:
    """Makes sure that the model has the body of FakeQuantize."""
    model.opset_imports.setdefault(DOMAIN, 1)
    identifier = (DOMAIN, FAKE_QUANTIZE, "")
    if identifier not in model.functions:
        function: ir.Function = ir.serde.deserialize_function(_body(model.opset_imports[""]))
        model.functions[identifier] = function


def _body(opset: int) -> onnx.FunctionProto:
    """integers [low, high] from the attributes: low = -signed * 2**(bits-1), high = low + 2**bits - 1."""
    body: onnx.FunctionProto = onnx.parser.parse_function(
        f"""<opset_import: ["" : {opset}], domain: "{DOMAIN}">
        {FAKE_QUANTIZE} <bits, signed> (x, scale, zero_point) => (y) {{
            depth_integer = Constant <value_int: int = @bits> ()
            signed_integer = Constant <value_int: int = @signed> ()
            depth = Cast <to = 1> (depth_integer)
            sign = Cast <to = 1> (signed_integer)
            two = Constant <value = float {{2.0}}> ()
            one = Constant <value = float {{1.0}}> ()
            levels = Pow (two, depth)
            half = Div (levels, two)
            side = Mul (sign, half)
            low = Neg (side)
            top = Add (low, levels)
            high = Sub (top, one)
            quotient = Div (x, scale)
            rounded = Round (quotient)
            shifted = Add (rounded, zero_point)
            above = Max (shifted, low)
            integers = Min (above, high)
            centred = Sub (integers, zero_point)
            y = Mul (centred, scale)
        }}"""
    )
    return body
