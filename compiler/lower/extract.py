"""Reads a fused Relax dataflow function as a list of kernel calls over numbered values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import tvm
from tvm import relax
from tvm.ir import Call

from tilewright.errors import Problem, UnsupportedError
from tilewright.targets.tir import var_name


@dataclass(frozen=True)
class Value:
    """A tensor: a model input (``data`` None, ``is_input``), a constant (``data``), or what a step writes."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    is_input: bool = False
    data: npt.NDArray[np.generic] | None = None


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
    """

    values: tuple[Value, ...]
    inputs: tuple[int, ...]
    outputs: tuple[tuple[int, tuple[int, ...]], ...]
    steps: tuple[Step, ...]


@dataclass(frozen=True)
class _Ref:
    value: int
    shape: tuple[int, ...]


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

    def resolve(self, expr: Any) -> _Bound:
        if isinstance(expr, tvm.ir.GenericConst):
            if expr not in self.constants:
                data = expr.value.numpy()
                name = f"const{len(self.constants)}"
                self.constants[expr] = self.add(Value(name, str(data.dtype), tuple(data.shape), data=data))
            return self.constants[expr]
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


def extract_calls(mod: Any, function: str = "main") -> Calls:
    """Walks ``mod[function]``, a dataflow function of call_tir, reshape and tuple bindings.

    Raises:
        UnsupportedError: an operator is left that is neither a kernel call nor a reshape.
    """
    main = mod[function]
    extractor = _Extractor()
    inputs = []
    for param in main.params:
        shape, dtype = _shape_and_dtype(param.ty)
        ref = extractor.add(Value(var_name(param), dtype, shape, is_input=True))
        extractor.bound[param] = ref
        inputs.append(ref.value)
    for block in main.body.blocks:
        for binding in block.bindings:
            extractor.bound[binding.var] = extractor.resolve(binding.value)
    outputs = _flat(extractor.resolve(main.body.body))
    return Calls(
        tuple(extractor.values),
        tuple(inputs),
        tuple((ref.value, ref.shape) for ref in outputs),
        tuple(extractor.steps),
    )


def kernels_of(mod: Any) -> Mapping[str, Any]:
    """The PrimFuncs of a module by name."""
    return {var.name_hint: func for var, func in mod.functions.items() if isinstance(func, tvm.tirx.PrimFunc)}
