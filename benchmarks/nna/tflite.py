"""Writes small TFLite models, without TensorFlow: LiteRT's own schema classes serialise them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

_TYPES = {"float32": 0, "int8": 9, "int16": 7, "int32": 2, "int64": 4, "uint8": 3, "int4": 17}
"""schema.TensorType by NumPy name; data of int4 come packed, the first in the low bits."""


@dataclass(frozen=True)
class Tensor:
    """A tensor of the model that is being built."""

    index: int
    shape: tuple[int, ...]
    dtype: str
    scale: float
    zero: int = 0


@dataclass
class Builder:
    """Collects operators; every method that adds one returns its output."""

    seed: int = 0
    tensors: list[Any] = field(default_factory=list)
    buffers: list[Any] = field(default_factory=lambda: [schema.BufferT()])
    operators: list[Any] = field(default_factory=list)
    codes: list[int] = field(default_factory=list)
    inputs: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.random = np.random.default_rng(self.seed)

    def tensor(
        self,
        shape: tuple[int, ...],
        dtype: str,
        scale: float | NDArray[np.float32] | None = None,
        zero: int = 0,
        data: NDArray[Any] | None = None,
        axis: int = 0,
    ) -> Tensor:
        """Adds a tensor; one with data is a constant, one with several scales is quantized along an axis."""
        tensor = schema.TensorT()
        index = len(self.tensors)
        tensor.name = f"t{index}"
        tensor.shape = list(shape)
        tensor.type = _TYPES[dtype]
        if scale is not None:
            quantization = schema.QuantizationParametersT()
            quantization.scale = np.atleast_1d(np.asarray(scale, np.float32)).tolist()
            quantization.zeroPoint = [zero] * len(quantization.scale)
            quantization.quantizedDimension = axis
            tensor.quantization = quantization
        if data is not None:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(np.ascontiguousarray(data).tobytes(), np.uint8)
            tensor.buffer = len(self.buffers)
            self.buffers.append(buffer)
        self.tensors.append(tensor)
        return Tensor(
            index, shape, dtype, float(np.max(np.asarray(scale, np.float32))) if scale is not None else 0.0, zero
        )

    def input(self, shape: tuple[int, ...], dtype: str = "int8", scale: float = 0.04, zero: int = 3) -> Tensor:
        """Adds an input."""
        result = self.tensor(shape, dtype, scale, zero if dtype == "int8" else 0)
        self.inputs.append(result.index)
        return result

    def indices(self, *values: int) -> Tensor:
        """An int32 constant: axes, shapes, paddings."""
        return self.tensor((len(values),), "int32", data=np.array(values, np.int32))

    def op(self, kind: str, inputs: list[Tensor | None], output: Tensor, **options: Any) -> Tensor:
        """Adds an operator by its name in the schema, e.g. ``op("CONV_2D", ..., Conv2DOptions={"strideW": 2})``."""
        self.op_many(kind, inputs, [output], **options)
        return output

    def op_many(self, kind: str, inputs: list[Tensor | None], outputs: list[Tensor], **options: Any) -> None:
        """The same with several outputs."""
        code = getattr(schema.BuiltinOperator, kind)
        if code not in self.codes:
            self.codes.append(code)
        operator = schema.OperatorT()
        operator.opcodeIndex = self.codes.index(code)
        operator.inputs = [-1 if tensor is None else tensor.index for tensor in inputs]
        operator.outputs = [tensor.index for tensor in outputs]
        for name, values in options.items():
            operator.builtinOptionsType = getattr(schema.BuiltinOptions, name)
            operator.builtinOptions = getattr(schema, name + "T")()
            for key, value in values.items():
                if not hasattr(operator.builtinOptions, key):
                    raise AttributeError(f"{name} has no {key}")
                setattr(operator.builtinOptions, key, value)
        self.operators.append(operator)

    def finish(self, *outputs: Tensor) -> bytes:
        """The model's bytes."""
        graph = schema.SubGraphT()
        graph.tensors, graph.operators, graph.inputs = self.tensors, self.operators, self.inputs
        graph.outputs = [tensor.index for tensor in outputs]
        model = schema.ModelT()
        model.version, model.subgraphs, model.buffers = 3, [graph], self.buffers
        model.operatorCodes = []
        for code in self.codes:
            entry = schema.OperatorCodeT()
            entry.builtinCode, entry.deprecatedBuiltinCode, entry.version = code, min(code, 127), _version(code)
            model.operatorCodes.append(entry)
        builder = flatbuffers.Builder(1 << 16)
        builder.Finish(model.Pack(builder), b"TFL3")
        return bytes(builder.Output())


def _version(code: int) -> int:
    """A version whose kernels take int8 and int16; LiteRT refuses versions that it does not know."""
    newest = {"CONV_2D": 5, "DEPTHWISE_CONV_2D": 5, "FULLY_CONNECTED": 7, "ADD": 3, "SUB": 5, "MUL": 5}
    newest |= {"RESHAPE": 1, "HARD_SWISH": 1, "RELU_N1_TO_1": 1}
    names = {getattr(schema.BuiltinOperator, name): version for name, version in newest.items()}
    return names.get(code, 2)
