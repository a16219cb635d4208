"""Reads fused Relax dataflow functions as lists of kernel calls over numbered values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import tvm
from tvm import relax
from tvm.ir import Call

from tilewright.errors import Problem, UnsupportedError
from tilewright.plan import RAW, PackedParameter
from tilewright.targets.tir import var_name


@dataclass(frozen=True)
class Value:
    """A tensor: a model input (``data`` None, ``is_input``), a constant (``data``), or what a step writes."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    is_input: bool = False
    data: npt.NDArray[np.generic] | None = None
    storage: str = RAW
    symbol_bits: int = 8


@dataclass(frozen=True)
class Step:
    """One call of PrimFunc ``kernel``: values read, then values written, in parameter order."""

    kernel: str
    reads: tuple[int, ...]
    writes: tuple[int, ...]


@dataclass(frozen=True)
class Calls:
    """A network as calls.

    Attributes:
        outputs: per model output the value that holds it and the output's own shape (a reshape shares its value).
        prologue: calls that are made once, at load, before any of ``steps``.
    """

    values: tuple[Value, ...]
    inputs: tuple[int, ...]
    outputs: tuple[tuple[int, tuple[int, ...]], ...]
    steps: tuple[Step, ...]
    prologue: tuple[Step, ...] = ()


@dataclass(frozen=True)
class _Ref:
    value: int
    shape: tuple[int, ...]


_SMALL = 1 << 12  # bytes of constants that are compared: zero points and tables of offsets recur
_Bound = Any  # _Ref, or a list of them for a tuple


class _Extractor:
    def __init__(self) -> None:
        self.values: list[Value] = []
        self.steps: list[Step] = []
        self.bound: dict[Any, _Bound] = {}
        self.constants: dict[Any, _Ref] = {}

    def add(self, value: Value) -> _Ref:
        self.values.append(value)
        return _Ref(len(self.values) - 1, value.shape)

    def walk(self, function: Any, arguments: Sequence[_Ref]) -> list[_Ref]:
        """Reads a function of call_tir, reshape and tuple bindings; returns what it returns."""
        self.bound = dict(zip(function.params, arguments, strict=True))
        for block in function.body.blocks:
            for binding in block.bindings:
                self.bound[binding.var] = self.resolve(binding.value)
        return _flat(self.resolve(function.body.body))

    def resolve(self, expr: Any) -> _Bound:
        if isinstance(expr, tvm.ir.GenericConst):
            data = expr.value.numpy()
            shape, dtype = tuple(data.shape), str(data.dtype)
            same = (dtype, shape, data.tobytes()) if data.nbytes <= _SMALL else expr
            if same not in self.constants:
                self.constants[same] = self.add(Value(f"const{len(self.constants)}", dtype, shape, data=data))
            return self.constants[same]
        if isinstance(expr, relax.Tuple):
            return [self.resolve(field) for field in expr.fields]
        if isinstance(expr, relax.TupleGetItem):
            return self.resolve(expr.tuple_value)[expr.index]
        if isinstance(expr, Call):
            return self.call(expr)
        return self.bound[expr]

    def call(self, expr: Any) -> _Bound:
        name = getattr(expr.op, "name", "")
        if name == "relax.call_tir":
            return self.call_tir(expr)
        if name == "relax.reshape":
            return _Ref(self.resolve(expr.args[0]).value, _shape_and_dtype(expr.ty)[0])
        raise UnsupportedError(
            "The model contains operators that cannot be lowered:",
            [
                Problem(
                    "",
                    f"Relax operator {name or expr.op}",
                    "report it with the model: this is a gap in the lowering",
                )
            ],
        )

    def call_tir(self, expr: Any) -> _Bound:
        operands = expr.args[1]
        reads = [self.resolve(arg) for arg in getattr(operands, "fields", [operands])]
        out_type = expr.ty_args[0]
        types = list(getattr(out_type, "fields", [out_type]))
        kernel = expr.args[0].name_hint
        writes = []
        for type_ in types:
            shape, dtype = _shape_and_dtype(type_)
            writes.append(self.add(Value(f"{kernel}.{len(self.steps)}", dtype, shape)))
        self.steps.append(Step(kernel, tuple(ref.value for ref in reads), tuple(ref.value for ref in writes)))
        return writes if hasattr(out_type, "fields") else writes[0]


def _shape_and_dtype(type_: Any) -> tuple[tuple[int, ...], str]:
    return tuple(int(extent) for extent in type_.shape), str(type_.dtype)


def _flat(bound: _Bound) -> list[_Ref]:
    return [ref for item in bound for ref in _flat(item)] if isinstance(bound, list) else [bound]


def extract_calls(mod: Any, prologue: Any = None, packed: Sequence[PackedParameter] = ()) -> Calls:
    """Reads ``main`` of a network, a dataflow function of call_tir, reshape and tuple bindings, and of its prologue.

    Args:
        mod: ``main`` takes the model's inputs, then what the prologue returns.
        prologue: None, or a module whose ``main`` takes the packed parameters.

    Raises:
        UnsupportedError: an operator is left that is neither a kernel call nor a reshape.
    """
    main = mod["main"]
    extractor = _Extractor()
    static: list[_Ref] = []
    if prologue is not None:
        constants = [extractor.add(_packed_value(parameter)) for parameter in packed]
        static = extractor.walk(prologue["main"], constants)
    early, extractor.steps = extractor.steps, []
    inputs = []
    for param in main.params[: len(main.params) - len(static)]:
        shape, dtype = _shape_and_dtype(param.ty)
        inputs.append(extractor.add(Value(var_name(param), dtype, shape, is_input=True)))
    outputs = extractor.walk(main, [*inputs, *static])
    return Calls(
        tuple(extractor.values),
        tuple(ref.value for ref in inputs),
        tuple((ref.value, ref.shape) for ref in outputs),
        tuple(extractor.steps),
        tuple(early),
    )


def _packed_value(parameter: PackedParameter) -> Value:
    array = parameter.array
    value = Value(parameter.name, str(array.dtype), array.shape, data=array)
    if parameter.storage == RAW:
        return value
    return replace(value, storage=parameter.storage, symbol_bits=parameter.symbol_bits)


def kernels_of(mod: Any) -> Mapping[str, Any]:
    """The PrimFuncs of a module by name."""
    return {var.name_hint: func for var, func in mod.functions.items() if isinstance(func, tvm.tirx.PrimFunc)}
