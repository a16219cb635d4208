"""Quantized models in the QDQ form, small and random."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from tests.models import IR_VERSION, OPSET, make_model
from tilewright import frontend
from tilewright.passes.fake_quantize import define


@dataclass
class Qdq:
    """A graph under construction. Values are float; ``quantize`` puts quantizing and dequantizing behind one."""

    seed: int = 0
    zero: int = 128
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: dict[str, NDArray[Any]] = field(default_factory=dict)
    inputs: dict[str, tuple[int, list[int | str]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.random = np.random.default_rng(self.seed)

    def input(self, *shape: int) -> str:
        self.inputs["x"] = (TensorProto.FLOAT, list(shape))
        return "x"

    def node(self, kind: str, *inputs: str, **attributes: Any) -> str:
        name = f"{kind.lower()}{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [f"{name}.out"], name=name, **attributes))
        return f"{name}.out"

    def constant(self, array: Any, dtype: str) -> str:
        name = f"c{len(self.constants)}"
        self.constants[name] = np.asarray(array, dtype)
        return name

    def quantize(self, value: str, scale: float) -> str:
        pair = (self.constant(scale, "float32"), self.constant(self.zero, "uint8"))
        return self.node("DequantizeLinear", self.node("QuantizeLinear", value, *pair), *pair)

    def weight(self, *shape: int, axis: int = 0, most: int = 127) -> str:
        values = self.random.integers(-most, most + 1, shape)
        scales = self.random.uniform(0.5, 1, shape[axis]) * 2 / most / np.prod(shape[1:]) ** 0.5
        pair = (self.constant(scales, "float32"), self.constant(np.zeros(shape[axis]), "int8"))
        return self.node("DequantizeLinear", self.constant(values, "int8"), *pair, axis=axis)

    def conv(self, value: str, channels: int, depth: int, kernel: int = 3, **attributes: Any) -> str:
        group = attributes.get("group", 1)
        weight = self.weight(channels, depth // group, kernel, kernel)
        bias = self.constant(self.random.normal(size=channels) * 0.1, "float32")
        return self.node("Conv", value, weight, bias, pads=[kernel // 2] * 4, **attributes)

    def build(self, outputs: dict[str, tuple[int, ...]], check: bool = True) -> onnx.ModelProto:
        named = {name: (TensorProto.FLOAT, list(shape)) for name, shape in outputs.items()}
        if check:
            return make_model(self.nodes, self.inputs, named, self.constants)  # type: ignore[arg-type]
        infos = (
            [helper.make_tensor_value_info(name, *info) for name, info in values.items()]
            for values in (self.inputs, named)
        )
        arrays = [numpy_helper.from_array(value, name) for name, value in self.constants.items()]
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("tilewright", 1)]
        graph = helper.make_graph(self.nodes, "test", *infos, arrays)
        return helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)


def residual() -> onnx.ModelProto:
    """Convolutions, a depthwise one, a sum, a pooling, a flattening and two fully connected layers, all in integers."""
    q = Qdq()
    x = q.quantize(q.input(1, 4, 12, 12), 0.02)
    y = q.quantize(q.node("Relu", q.conv(x, 8, 4)), 0.02)
    y = q.quantize(q.conv(y, 8, 8, strides=[2, 2], group=8), 0.02)
    z = q.quantize(q.conv(y, 8, 8, 1), 0.015)
    y = q.quantize(q.node("Add", y, z), 0.025)
    y = q.quantize(q.node("MaxPool", y, kernel_shape=[2, 2], strides=[2, 2]), 0.025)
    y = q.quantize(q.node("Flatten", y), 0.025)
    y = q.quantize(q.node("Gemm", y, q.weight(20, 72), transB=1), 0.02)
    y = q.node("Gemm", y, q.weight(5, 20), transB=1)
    return q.build({y: (1, 5)})


def interrupted() -> onnx.ModelProto:
    """A function that has no integer form between two convolutions."""
    q = Qdq(1)
    x = q.quantize(q.input(1, 4, 6, 6), 0.02)
    y = q.quantize(q.conv(x, 8, 4), 0.02)
    y = q.quantize(q.node("Sin", y), 1 / 128)
    y = q.quantize(q.conv(y, 8, 8), 0.02)
    y = q.quantize(q.node("GlobalAveragePool", y), 0.005)
    return q.build({y: (1, 8, 1, 1)})


def joined(factors: tuple[int, int] = (2, 2)) -> onnx.ModelProto:
    """A map that is made larger and put behind another one, as decoders of segmentation networks do."""
    q = Qdq(3)
    x = q.quantize(q.input(1, 4, 8, 8), 0.02)
    low = q.quantize(q.conv(x, 12, 4, strides=list(factors)), 0.02)
    scales = q.constant([1, 1, *factors], "float32")
    grid = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    wide = q.quantize(q.node("Resize", low, "", scales, mode="nearest", **grid), 0.02)
    both = q.quantize(q.node("Concat", wide, q.quantize(q.conv(x, 5, 4), 0.02), axis=1), 0.02)
    return q.build({q.quantize(q.conv(both, 4, 17), 0.02): (1, 4, 8, 8)})


def fake_quantized(bits: int) -> onnx.ModelProto:
    """A convolution, a pooling, a flattening and a fully connected layer; quantizers are FakeQuantize."""
    q = Qdq(2)
    signed = {"bits": bits, "signed": 1}

    def quantize(value: str, scale: float) -> str:
        pair = (q.constant(scale, "float32"), q.constant(0, "float32"))
        return q.node("FakeQuantize", value, *pair, domain="tilewright", **signed)

    step = 2 / (2**bits - 1)
    x = quantize(q.input(1, 4, 8, 8), step)
    y = quantize(q.conv(x, 4, 4), step)
    y = quantize(q.node("MaxPool", y, kernel_shape=[2, 2], strides=[2, 2]), step)
    y = quantize(q.node("Flatten", y), step)
    most = q.constant(q.random.integers(-7, 8, (1, 64)), "int8")
    scales = (q.constant([0.01], "float32"), q.constant([0], "int8"))
    y = q.node("Gemm", y, q.node("DequantizeLinear", most, *scales, axis=0), transB=1)
    model = q.build({y: (1, 1)}, check=False)
    made = ir.serde.deserialize_model(model)
    define(made)
    return ir.serde.serialize_model(made)


def load(model: onnx.ModelProto) -> ir.Model:
    """As the compiler sees it."""
    return frontend.load(model)
