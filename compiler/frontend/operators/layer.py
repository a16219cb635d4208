"""What a converter sees: one ONNX node with its inputs as Relax expressions, and helpers to emit more of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
from tvm import relax

from tilewright.lower.layers import binding_hint

Expr: TypeAlias = Any  # relax.Expr; TVM is untyped
Tensor: TypeAlias = Any  # te.Tensor
Array: TypeAlias = npt.NDArray[Any]

DTYPES: Mapping[ir.DataType, str] = {
    ir.DataType.FLOAT: "float32",
    ir.DataType.FLOAT16: "float16",
    ir.DataType.DOUBLE: "float64",
    ir.DataType.INT8: "int8",
    ir.DataType.INT16: "int16",
    ir.DataType.INT32: "int32",
    ir.DataType.INT64: "int64",
    ir.DataType.UINT8: "uint8",
    ir.DataType.UINT16: "uint16",
    ir.DataType.UINT32: "uint32",
    ir.DataType.UINT64: "uint64",
    ir.DataType.BOOL: "bool",
}


class Refusal(Exception):
    """A converter cannot handle this node: the reason, and what the user can do."""

    def __init__(self, reason: str, remedy: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.remedy = remedy


@dataclass(frozen=True)
class Layer:
    """One node under conversion.

    Attributes:
        builder: where expressions are emitted.
        node: types and static shapes of all inputs and outputs are known.
        opset: version of the node's operator set.
        inputs: None where an optional input is left out.
    """

    builder: relax.BlockBuilder
    node: ir.Node
    opset: int
    inputs: tuple[Expr | None, ...]

    # Inputs and outputs

    def __getitem__(self, index: int) -> Expr:
        """Input ``index``, which the operator requires."""
        expr = self.optional(index)
        if expr is None:
            raise Refusal(f"input {index} is missing")
        return expr

    def optional(self, index: int) -> Expr | None:
        return self.inputs[index] if index < len(self.inputs) else None

    def array(self, index: int) -> Array | None:
        """The value of an input that is known at compile time, else None."""
        value = self.node.inputs[index] if index < len(self.node.inputs) else None
        return value.const_value.numpy() if value is not None and value.const_value is not None else None

    def constant(self, index: int, what: str) -> Array | None:
        """The value of an optional input that has to be known at compile time; None where it is left out."""
        array = self.array(index)
        if array is None and self.optional(index) is not None:
            raise Refusal(f"{what} must be known at compile time", "make it a constant before export")
        return array

    def shape(self, index: int = 0) -> tuple[int, ...]:
        return static_shape(self.node.inputs[index])

    def dtype(self, index: int = 0) -> str:
        return dtype_name(self.node.inputs[index])

    def rank(self, index: int = 0) -> int:
        return len(self.shape(index))

    def out_shape(self, index: int = 0) -> tuple[int, ...]:
        return static_shape(self.node.outputs[index])

    def out_dtype(self, index: int = 0) -> str:
        return dtype_name(self.node.outputs[index])

    def wants(self, index: int) -> bool:
        """Whether output ``index`` is used."""
        if index >= len(self.node.outputs):
            return False
        value = self.node.outputs[index]
        return bool(value.uses()) or value.is_graph_output()

    # Attributes

    def integer(self, name: str, default: int | None = None) -> int:
        return int(self._attribute(name, default))

    def number(self, name: str, default: float | None = None) -> float:
        return float(self._attribute(name, default))

    def text(self, name: str, default: str | None = None) -> str:
        return str(self._attribute(name, default))

    def integers(self, name: str, default: Sequence[int] | None = None) -> tuple[int, ...]:
        return tuple(int(item) for item in self._attribute(name, default))

    def numbers(self, name: str, default: Sequence[float]) -> tuple[float, ...]:
        return tuple(float(item) for item in self._attribute(name, default))

    def strings(self, name: str, default: Sequence[str]) -> tuple[str, ...]:
        return tuple(str(item) for item in self._attribute(name, default))

    def has(self, name: str) -> bool:
        return name in self.node.attributes

    def _attribute(self, name: str, default: Any) -> Any:
        attribute = self.node.attributes.get(name)
        if attribute is not None:
            return attribute.value
        if default is None:
            raise Refusal(f"attribute '{name}' is missing")
        return default

    def axis(self, default: int | None, rank: int | None = None) -> int:
        """The attribute ``axis``, counted from the front."""
        rank = self.rank() if rank is None else rank
        return self.positive(self.integer("axis", default), rank)

    def axes(self, index: int, rank: int | None = None) -> tuple[int, ...] | None:
        """``axes`` as an attribute (older opsets) or as constant input ``index``, counted from the front."""
        rank = self.rank() if rank is None else rank
        if self.has("axes"):
            return tuple(self.positive(axis, rank) for axis in self.integers("axes"))
        array = self.constant(index, "axes")
        return None if array is None else tuple(self.positive(int(axis), rank) for axis in array.reshape(-1))

    def positive(self, axis: int, rank: int) -> int:
        if not -max(rank, 1) <= axis < max(rank, 1):
            raise Refusal(f"axis {axis} is out of range for rank {rank}")
        return axis % rank if rank else 0

    # Emitting

    def emit(self, expr: Expr) -> Expr:
        """Binds an expression, under the node's name."""
        return self.builder.emit(expr, name_hint=hint(self.node))

    def reshaped(self, index: int, shape: tuple[int, ...]) -> Expr:
        """An input in another shape; a constant at once, since folding it later costs a call of LLVM."""
        array = self.array(index)
        if array is not None:
            return const(array.reshape(shape), self.dtype(index))
        return self.emit(relax.op.reshape(self[index], shape))

    def te(self, compute: Callable[..., Any], *inputs: Expr, name: str = "") -> Expr:
        """Emits a tensor expression over Relax tensors as one kernel."""
        kernel = name or snake(self.node.op_type)
        return self.builder.emit_te(compute, *inputs, name_hint=hint(self.node), primfunc_name_hint=kernel)


def const(value: npt.ArrayLike, dtype: str) -> Expr:
    return relax.const(np.asarray(value).astype(dtype), dtype)


def static_shape(value: ir.Value | None) -> tuple[int, ...]:
    if value is None or value.shape is None:
        raise Refusal("a shape is unknown")
    return tuple(int(dim) for dim in value.shape.numpy())


def dtype_name(value: ir.Value | None) -> str:
    if value is None or value.dtype is None or value.dtype not in DTYPES:
        raise Refusal(f"element type {value.dtype if value is not None else None} is not supported")
    return DTYPES[value.dtype]


def hint(node: ir.Node) -> str:
    """The name of a node's bindings, from which lowering tells which nodes a kernel computes."""
    return binding_hint(node.name or node.op_type)


def snake(name: str) -> str:
    """``HardSigmoid`` -> ``hard_sigmoid``."""
    return "".join(
        f"_{c.lower()}" if c.isupper() and i and not name[i - 1].isupper() else c.lower() for i, c in enumerate(name)
    )


Converter: TypeAlias = Callable[[Layer], "Expr | Sequence[Expr]"]


@dataclass(frozen=True)
class Operator:
    """How an ONNX operator is imported.

    Attributes:
        convert: returns the node's outputs: one expression, or as many as the node can have (unused ones may be None).
        limits: what is refused, for docs/operators.md.
    """

    convert: Converter
    limits: str = ""
