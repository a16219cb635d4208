"""A Relax mutator that knows which layer it rewrites, so that what it emits in a layer's place carries its name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from tvm import relax

from tilewright.targets.tir import var_name


class LayerRewriter(relax.PyExprMutator):  # type: ignore[misc]
    """A base class; its subclasses are decorated with ``relax.expr_functor.mutator``.

    Attributes:
        var: of the binding under visit; its name says which ONNX node it was made for, see lower/layers.py.
    """

    def __init__(self, mod: Any) -> None:
        super().__init__(mod)
        self.var: Any = None

    def visit_var_binding_(self, binding: Any) -> None:
        self.var = binding.var
        super().visit_var_binding_(binding)

    def emit(self, expr: Any) -> Any:
        """A variable of the layer under visit, bound to an expression."""
        return self.builder_.emit(expr, name_hint=var_name(self.var))

    def kernel(self, function: Any, name: str, operands: Sequence[Any], shape: Sequence[int], dtype: str) -> Any:
        """A call of a PrimFunc with one result, not yet emitted."""
        callee = self.builder_.add_func(function.without_attr("global_symbol"), name)
        return relax.call_tir(callee, list(operands), out_ty=relax.TensorType(shape, dtype))

    def emit_kernel(self, function: Any, name: str, operands: Sequence[Any], shape: Sequence[int], dtype: str) -> Any:
        """The same, emitted."""
        return self.emit(self.kernel(function, name, operands, shape, dtype))


def shape_of(expr: Any) -> tuple[int, ...]:
    """The static shape of a Relax expression."""
    return tuple(int(size) for size in expr.ty.shape)


def constant(array: npt.NDArray[Any]) -> Any:
    """A Relax constant."""
    return relax.const(np.asarray(array, order="C"), str(array.dtype))
