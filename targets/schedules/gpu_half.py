"""Half precision for the GPU targets: convolutions and products in fp16, and what lies between them where that is safe.

Like automatic mixed precision in training frameworks (PyTorch's autocast, for one), by three lists of operators:
  - products always read and give halves, and add up in float32: sums in half lose a digit over a few hundred terms;
  - what moves or bounds numbers, or adds and scales them, follows operands that are in half;
  - all else runs in float32: reductions, roots, exponentials, quotients, squares (half ends at 65504), and every kernel
    that came as TIR. Results of a few of these cannot exceed their operands and may serve a follower as half.
A conversion is a pointwise operator, which fusion puts into the kernel before it: numbers between kernels are stored in
half, whatever the precision inside; gpu_pairs.py says which kernels compute in it.
"""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import tvm
from tvm import relax, tirx
from tvm.ir import Call, GenericConst

from tilewright.targets.static import StaticValues
from tilewright.targets.tir import var_name

_PRODUCTS = {f"nn.conv{n}d{kind}" for n in (1, 2, 3) for kind in ("", "_transpose")} | {"matmul"}
_MOVES = {
    *("reshape", "flatten", "squeeze", "expand_dims", "permute_dims", "layout_transform", "broadcast_to", "tile"),
    *("repeat", "flip", "concat", "stack", "split", "strided_slice", "take", "nn.pad", "nn.pixel_shuffle"),
}
_FOLLOWERS = _MOVES | {
    *("add", "subtract", "multiply", "divide", "negative", "abs", "maximum", "minimum", "clip"),
    *("nn.relu", "nn.leakyrelu", "nn.max_pool1d", "nn.max_pool2d", "nn.max_pool3d", "max", "min"),
}
_BOUNDED = {
    *("sigmoid", "tanh", "erf", "nn.softmax", "nn.silu", "nn.gelu", "nn.gelu_tanh", "mean", "image.resize2d"),
    *("nn.avg_pool1d", "nn.avg_pool2d", "nn.avg_pool3d"),
    *("nn.adaptive_avg_pool1d", "nn.adaptive_avg_pool2d", "nn.adaptive_avg_pool3d"),
}


def to_half(mod: Any) -> Any:
    """Puts ``main`` into half precision; inputs, packed parameters and outputs of the model keep their types."""
    functions = {var: _Halving(func).run() if var.name_hint == "main" else func for var, func in mod.functions.items()}
    passes = [relax.transform.CanonicalizeBindings(), relax.transform.DeadCodeElimination()]
    return tvm.ir.transform.Sequential(passes)(tvm.IRModule(functions, attrs=mod.attrs))


class _Halving:
    """One walk over the bindings of a function, which makes the function anew as one dataflow block."""

    def __init__(self, function: Any) -> None:
        self.function = function
        self.static = StaticValues(function)
        self.builder = relax.BlockBuilder()
        self.new: dict[Any, Any] = {param: param for param in function.params}  # variable -> variable
        self.bounded: set[Any] = set()  # new float32 variables that half can hold
        self.converted: dict[tuple[Any, str], Any] = {}  # new variable, data type -> variable

    def run(self) -> Any:
        with self.builder.function("main", self.function.params, attrs=dict(self.function.attrs or {})):
            with self.builder.dataflow():
                for block in self.function.body.blocks:
                    for binding in block.bindings:
                        self._bind(binding.var, binding.value)
            self.builder.emit_func_output(self._renamed(self.function.body.body))
        return self.builder.get()["main"]

    def _bind(self, var: Any, value: Any) -> None:
        name = var_name(var)
        result = self._value(value, name)
        if isinstance(var, relax.DataflowVar):
            self.new[var] = self.builder.emit(result, name_hint=name)
        else:  # an output: keeps its type
            result = self.builder.normalize(result)
            if result.ty != var.ty:
                result = self._converted(self.builder.emit(result, name_hint=name), var.ty)
            self.new[var] = self.builder.emit_output(result, name_hint=name)
        if _operator(value) in _BOUNDED and any(map(self._is_half, _operands(value))):
            self.bounded.add(self.new[var])

    def _value(self, value: Any, name: str) -> Any:
        """The right side of a binding, with operands in the precision that its operator shall have."""
        if not isinstance(value, Call):
            return self._renamed(value)
        half = _is_single(value.ty) and (self._is_half_product(value) or self._follows(value))
        args = [self._converted(self._renamed(arg), _half_type(arg.ty) if half else arg.ty) for arg in value.args]
        if half and _operator(value) in _PRODUCTS:
            return relax.op.astype(self.builder.emit(_summed_in_single(value, args), name_hint=name), "float16")
        return Call(value.op, args, value.attrs, value.ty_args)

    def _is_half_product(self, call: Any) -> bool:
        return _operator(call) in _PRODUCTS and all(_is_roundable(x) for x in call.args if isinstance(x, GenericConst))

    def _follows(self, call: Any) -> bool:
        """Whether an operator has operands in half, no other ones but constants, and is safe."""
        name, operands = _operator(call), _operands(call)
        if name not in _FOLLOWERS or not any(map(self._is_half, operands)):
            return False
        if name == "multiply" and operands[0].same_as(operands[1]):
            return False
        if name == "divide" and not self._is_constant(operands[1]):
            return False
        return all(self._is_half(operand) or self._is_constant(operand) for operand in operands)

    def _is_half(self, operand: Any) -> bool:
        new = self._renamed(operand)
        return new in self.bounded or (_is_single(operand.ty) and new.ty != operand.ty)

    def _is_constant(self, operand: Any) -> bool:
        """Whether an operand is constant, or known at load, and half can hold it."""
        return operand in self.static.known if isinstance(operand, relax.Var) else _is_roundable(operand)

    def _renamed(self, expr: Any) -> Any:
        if isinstance(expr, relax.Var):
            return self.new[expr]
        if isinstance(expr, relax.Tuple):
            return relax.Tuple([self._renamed(item) for item in expr.fields])
        if isinstance(expr, relax.TupleGetItem):
            return relax.TupleGetItem(self._renamed(expr.tuple_value), expr.index)
        return expr

    def _converted(self, expr: Any, wanted: Any) -> Any:
        """A renamed operand as a type that differs in precision at most."""
        if isinstance(wanted, relax.TupleType):
            items = expr.fields if isinstance(expr, relax.Tuple) else None
            if items is None and expr.ty == wanted:
                return expr
            items = items or [self.builder.emit(relax.TupleGetItem(expr, i)) for i in range(len(wanted.fields))]
            return relax.Tuple([self._converted(item, ty) for item, ty in zip(items, wanted.fields, strict=True)])
        if not isinstance(wanted, relax.TensorType) or expr.ty.dtype == wanted.dtype:
            return expr
        dtype = str(wanted.dtype)
        if isinstance(expr, GenericConst):
            return relax.const(expr.value.numpy().astype(dtype), dtype)
        if (expr, dtype) not in self.converted:
            self.converted[expr, dtype] = self.builder.emit(relax.op.astype(expr, dtype), name_hint=var_name(expr))
        return self.converted[expr, dtype]


def _operator(value: Any) -> str:
    """Name of the Relax operator that a call applies, or nothing."""
    return str(getattr(getattr(value, "op", None), "name", "")).removeprefix("relax.")


def _summed_in_single(call: Any, args: list[Any]) -> Any:
    """A convolution or product of halves whose result, and so each sum, is float32."""
    name = _operator(call)
    make = relax.op.matmul if name == "matmul" else getattr(relax.op.nn, name.removeprefix("nn."))
    options = list(inspect.signature(make).parameters)[len(args) : -1]
    assert list(inspect.signature(make).parameters)[-1] == "out_dtype"
    return make(*args, **{option: getattr(call.attrs, option) for option in options}, out_dtype="float32")


def _operands(call: Any) -> list[Any]:
    """What the value of a result depends on: operands of float32, those in tuples too, and numbers."""
    fields = (item for arg in call.args for item in (arg.fields if isinstance(arg, relax.Tuple) else (arg,)))
    return [item for item in fields if isinstance(item, (tirx.IntImm, tirx.FloatImm)) or _is_single(item.ty)]


def _is_single(ty: Any) -> bool:
    if isinstance(ty, relax.TupleType):
        return bool(ty.fields) and all(map(_is_single, ty.fields))
    return isinstance(ty, relax.TensorType) and str(ty.dtype) == "float32"


def _half_type(ty: Any) -> Any:
    if isinstance(ty, relax.TupleType):
        return relax.TupleType([_half_type(item) for item in ty.fields])
    return relax.TensorType(ty.shape, "float16") if _is_single(ty) else ty


def _is_roundable(constant: Any) -> bool:
    """Whether half holds a constant: no number too large, and all in all no more than a rounding error away."""
    full = np.asarray(constant.value.numpy() if isinstance(constant, GenericConst) else constant.value, np.float64)
    finite = np.isfinite(full)
    with np.errstate(over="ignore"):
        half = full.astype(np.float16).astype(np.float64)
    if not np.array_equal(finite, np.isfinite(half)):
        return False
    return bool(np.linalg.norm(half[finite] - full[finite]) <= 2.0**-10 * np.linalg.norm(full[finite]))
