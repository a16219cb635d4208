"""Compressed weights: the nodes that passes/encode.py makes, decoded by the formats' element decoders.

The packed arrays are parameters of the network, not constants, so that nothing is folded into the dense weight at
compile time: the artifact holds the arrays, and the launches emitted here run once, when it is loaded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
import tvm_ffi
from tvm import relax, te, tirx

from tilewright.errors import DataError
from tilewright.formats.element import Element, decoder
from tilewright.formats.packed import symbol_bits
from tilewright.frontend.operators.layer import Expr, Layer, Operator, Refusal
from tilewright.lower.layers import binding_hint
from tilewright.passes.encode import Unpacking
from tilewright.plan import PackedParameter


def convert(layer: Layer) -> Expr:
    """The dense weight."""
    try:
        unpacking = Unpacking.of(layer.node)
    except DataError as error:
        raise Refusal(str(error), "encode the weight again") from None
    ops = TeOps(layer)
    loads = {role: ops.load(layer[place]) for place, role in enumerate(unpacking.roles)}
    element = decoder(ops, unpacking.format, loads, unpacking.matrix, unpacking.payload)
    split = relax.op.reshape(ops.weight(unpacking.matrix, element), unpacking.split)
    return relax.op.reshape(relax.op.permute_dims(split, list(unpacking.perm)), unpacking.shape)


OPERATOR = Operator(convert)


def packed_parameters(node: ir.Node) -> Mapping[ir.Value, PackedParameter]:
    """The inputs of an unpacking node, flat, and how the artifact stores them.

    Raises:
        DataError: damaged attributes.
    """
    unpacking = Unpacking.of(node)
    form = unpacking.format
    found = {}
    for (role, array), value in zip(unpacking.arrays(node).items(), node.inputs, strict=True):
        assert value is not None
        bits = symbol_bits(form.layout if role == "index" else form.codec, role, array.dtype)
        found[value] = PackedParameter(str(value.name), array.ravel(), form.storage.spec, bits)
    return found


# Relax's OpPatternKind. Relax itself finds neither: not that a matrix is computed element by element where a load's
# place depends on another load, nor that what several elements share must not be computed anew for each.
_INJECTIVE, _OPAQUE = 2, 8
_SMALL = 500  # nodes of a kernel; TVM takes seconds to fuse a larger one, and the memory that this saves is temporary


class TeOps:
    """Evaluates decoders into tensor expressions; every ``compute`` becomes one kernel."""

    def __init__(self, layer: Layer) -> None:
        self.builder = layer.builder
        self.hint = binding_hint(layer.node.name or layer.node.op_type)
        self.arguments: dict[Any, Any] = {}  # Relax variables that the kernel under construction reads: placeholders

    def load(self, var: Expr) -> _Load:
        """A flat array or a computed matrix."""
        return _Load(self, var)

    def table(self, values: npt.ArrayLike) -> _Load:
        array = np.asarray(values)
        return _Load(self, relax.const(array.astype("float32" if array.dtype.kind == "f" else "int32")))

    def where(self, condition: Any, yes: Any, no: Any) -> Any:
        sides = [tirx.const(side, "int32") if isinstance(side, int) else side for side in (yes, no)]
        floats = [side for side in sides if isinstance(side, float)]
        sides = [tirx.const(side, "float32") if side in floats else side for side in sides] if floats else sides
        return tirx.if_then_else(condition, *sides)

    def shift_right(self, value: Any, count: Any) -> Any:
        # Unsigned: of a count that may be negative for all it knows, TVM 0.27's bound of a shift is wrong (zero).
        return (value.astype("uint32") >> count.astype("uint32")).astype("int32")

    def compute(self, shape: tuple[int, int], element: Element, dtype: str) -> _Load:
        return self._emit(shape, lambda row, column: element(row, column))

    def weight(self, shape: tuple[int, int], element: Element) -> Expr:
        """The decoded matrix: a kernel that fuses with what lays the weight out for a target, if it is small."""
        return self._emit(shape, lambda row, column: element(row, column), fuses=True).var

    def exclusive_sum(self, values: Any, count: int) -> _Load:
        earlier = te.reduce_axis((0, count), "earlier")
        none = tirx.const(0, "int32")
        return self._emit(
            (count,), lambda row: te.sum(tirx.if_then_else(earlier < row, values[earlier], none), axis=earlier)
        )

    def positions(self, index: Any, shape: tuple[int, int], columns: int) -> _Load:
        place = te.reduce_axis((0, shape[1]), "place")
        none = tirx.const(0, "int32")

        def at(row: Any, column: Any) -> Any:
            here = tirx.EQ(index[row * shape[1] + place], column)
            return te.sum(tirx.if_then_else(here, place.var + 1, none), axis=place)

        return self._emit((shape[0], columns), at)

    def _emit(self, shape: tuple[int, ...], element: Callable[..., Any], fuses: bool = False) -> _Load:
        outer, self.arguments = self.arguments, {}
        extents = [tirx.IntImm("int64", extent) for extent in shape]  # as Relax has them; places are int32 all the same
        tensor = te.compute(extents, lambda *at: element(*(axis.astype("int32") for axis in at)), name="unpacked")
        function = te.create_prim_func([*self.arguments.values(), tensor]).without_attr("global_symbol")
        function = function.with_attr("op_pattern", _INJECTIVE if fuses and _nodes(function) <= _SMALL else _OPAQUE)
        variables, self.arguments = list(self.arguments), outer
        call = relax.call_tir(
            self.builder.add_func(function, "unpack"), variables, out_ty=relax.TensorType(shape, str(tensor.dtype))
        )
        return _Load(self, self.builder.emit(call, name_hint=self.hint))


def _nodes(function: Any) -> int:
    count = 0

    def visit(_: Any) -> None:
        nonlocal count
        count += 1

    tvm_ffi.structural_walk(function.body, visit, order="pre")
    return count


class _Load:
    """A Relax variable that kernels index; loads widen to int32 or float32."""

    def __init__(self, ops: TeOps, var: Expr) -> None:
        self.ops, self.var = ops, var

    def __getitem__(self, index: Any) -> Any:
        arguments = self.ops.arguments
        if self.var not in arguments:
            arguments[self.var] = te.placeholder(
                list(self.var.ty.shape), str(self.var.ty.dtype), name=f"p{len(arguments)}"
            )
        place = index if isinstance(index, tuple) else (index,)
        value = arguments[self.var][place]
        wide = "float32" if str(value.dtype).startswith("float") else "int32"
        return value if str(value.dtype) == wide else value.astype(wide)
