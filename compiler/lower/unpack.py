"""Expands the unpacking of compressed weights that no kernel reads packed, by the formats' element decoders.

The packed arrays are parameters of the network, not constants, so that nothing is folded into the dense weight at
compile time: the artifact holds the arrays, and the kernels emitted here run once, when it is loaded.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy.typing as npt
import tvm
import tvm_ffi
from tvm import relax, s_tir, te, tirx

from tilewright.formats.element import Element, decoder, narrowed
from tilewright.formats.weight_form import WeightForm
from tilewright.targets.packed_weights import Unpack
from tilewright.targets.schedules.ir import substitute


def unpacking(name: str, form: WeightForm, arrays: Sequence[Any]) -> Any:
    """The Relax call that stands for a compressed weight.

    Args:
        name: Relax name hint of its layer.
        arrays: flat, in the order of the form's roles.
    """
    return Unpack(**vars(form), name=name).call(arrays)


def expand_unpacking(mod: Any) -> Any:
    """Replaces every unpacking call of ``main`` by kernels that compute the dense weight."""
    (main,) = (var for var in mod.functions if var.name_hint == "main")
    expander = _Expander(mod)
    expander.builder_.update_func(main, expander.visit_expr(mod[main]))
    return relax.transform.DeadCodeElimination()(expander.builder_.get())


@relax.expr_functor.mutator
class _Expander(relax.PyExprMutator):  # type: ignore[misc]
    def visit_call_(self, call: Any) -> Any:
        call = self.visit_expr_post_order(call)
        found = Unpack.of(call)
        if found is None:
            return call
        unpack, arrays = found
        ops = TeOps(self.builder_, unpack.name)
        loads = {role: ops.load(array) for role, array in zip(unpack.roles, arrays, strict=True)}
        element = decoder(ops, unpack.format, loads, unpack.matrix, unpack.payload)
        split = self._emit(relax.op.reshape(ops.weight(unpack.matrix, element), unpack.split), unpack)
        order = self._emit(relax.op.permute_dims(split, list(unpack.perm)), unpack)
        return relax.op.reshape(order, unpack.shape)

    def _emit(self, expr: Any, unpack: Unpack) -> Any:
        return self.builder_.emit(expr, name_hint=unpack.name)


# Relax's OpPatternKind. Relax itself finds neither: not that a matrix is computed element by element where a load's
# place depends on another load, nor that what several elements share must not be computed anew for each.
_INJECTIVE, _OPAQUE = 2, 8
_SMALL = 500  # nodes of a kernel; TVM takes seconds to fuse a larger one, and the memory that this saves is temporary


class TeOps:
    """Evaluates decoders into tensor expressions; every ``compute`` becomes one kernel."""

    def __init__(self, builder: Any, hint: str) -> None:
        """
        Args:
            builder: the relax.BlockBuilder to emit into.
            hint: name of the bindings.
        """
        self.builder = builder
        self.hint = hint
        # Of the kernel under construction: placeholders by the Relax variables that it reads; shared values in order.
        self.arguments: dict[Any, Any] = {}
        self.shared: list[tuple[Any, Any]] = []

    def load(self, var: Any) -> _Load:
        """A flat array or a computed matrix."""
        return _Load(self, var)

    def table(self, values: npt.ArrayLike) -> _Load:
        return _Load(self, relax.const(narrowed(values)))

    def where(self, condition: Any, yes: Any, no: Any) -> Any:
        sides = [tirx.const(side, "int32") if isinstance(side, int) else side for side in (yes, no)]
        floats = [side for side in sides if isinstance(side, float)]
        sides = [tirx.const(side, "float32") if side in floats else side for side in sides] if floats else sides
        return tirx.if_then_else(condition, *sides)

    def shift_right(self, value: Any, count: Any) -> Any:
        # Unsigned: of a count that may be negative for all it knows, TVM 0.27's bound of a shift is wrong (zero).
        places = tirx.const(count, "uint32") if isinstance(count, int) else count.astype("uint32")
        return (value.astype("uint32") >> places).astype("int32")

    def share(self, value: Any) -> Any:
        if not isinstance(value, tirx.Expr):
            return value
        var = tirx.Var("shared", str(value.ty.dtype))
        self.shared.append((var, value))
        return var

    def compute(self, shape: tuple[int, int], element: Element, dtype: str, needed: Element | None = None) -> _Load:
        def value(row: Any, column: Any) -> Any:
            if needed is None:
                return element(row, column).astype(dtype)
            condition, before, self.shared = needed(row, column), self.shared, []
            inner = _named(self.shared, element(row, column).astype(dtype))
            self.shared = before
            return tirx.if_then_else(condition, inner, tirx.const(0, dtype))

        return self._emit(shape, value)

    def weight(self, shape: tuple[int, int], element: Element) -> Any:
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
        outer = self.arguments, self.shared
        self.arguments, self.shared = {}, []

        def body(*at: Any) -> Any:
            value = element(*(axis.astype("int32") for axis in at))
            return _named(self.shared, value)

        extents = [tirx.IntImm("int64", extent) for extent in shape]  # as Relax has them; places are int32 all the same
        tensor = te.compute(extents, body, name="unpacked")
        function = te.create_prim_func([*self.arguments.values(), tensor]).without_attr("global_symbol")
        function = _through_memory(function) if self.shared else function
        function = function.with_attr("op_pattern", _INJECTIVE if fuses and _nodes(function) <= _SMALL else _OPAQUE)
        variables = list(self.arguments)
        self.arguments, self.shared = outer
        call = relax.call_tir(
            self.builder.add_func(function, "unpack"), variables, out_ty=relax.TensorType(shape, str(tensor.dtype))
        )
        return _Load(self, self.builder.emit(call, name_hint=self.hint))


def _named(parts: Sequence[tuple[Any, Any]], value: Any) -> Any:
    for var, part in reversed(parts):
        value = tirx.Let(var, part, value)
    return value


def _through_memory(function: Any) -> Any:
    """The function with shared values in memory of their own; TVM's passes put what a Let binds wherever it is read."""

    def change(block: Any) -> Any:
        if not block.iter_vars:
            return block
        memory = tirx.decl_buffer((_lets(block.body.value),), "int32", name="parts", scope="local")
        body = _stored(block.body, memory, [])
        # TVM says where blocks read by variables of inner scopes; all of a buffer will do.
        reads = [
            tirx.BufferRegion(region.source, [tvm.ir.Range(0, extent) for extent in region.source.shape])
            for region in block.reads
        ]
        return s_tir.SBlock(block.iter_vars, reads, block.writes, block.name_hint, body, alloc_buffers=[memory])

    body = tvm_ffi.structural_map(function.body, (s_tir.SBlock, change))
    return tirx.PrimFunc(function.params, body, function.ret_type, function.attrs)


def _lets(value: Any) -> int:
    count = 0

    def visit(_: Any) -> None:
        nonlocal count
        count += 1

    tvm_ffi.structural_walk(value, (tirx.Let, visit), order="pre")
    return count


def _stored(store: Any, memory: Any, known: list[tuple[Any, Any]]) -> Any:
    """Statements for a store of a value under Lets, and of one that a branch below them chooses.

    Args:
        known: variables, and where their values are.
    """
    value, body, known = store.value, [], list(known)
    while isinstance(value, tirx.Let):
        place = [tirx.const(len(known), "int32")]
        body.append(tirx.BufferStore(memory, substitute(value.value, known), place))
        known.append((value.var, tirx.BufferLoad(memory, place)))
        value = value.body
    branches = getattr(getattr(value, "op", None), "name", "").endswith("if_then_else")
    if branches and isinstance(value.args[1], tirx.Let):
        condition, *sides = value.args
        yes, no = (_stored(tirx.BufferStore(store.buffer, side, store.indices), memory, known) for side in sides)
        body.append(tirx.IfThenElse(substitute(condition, known), yes, no))
    else:
        body.append(tirx.BufferStore(store.buffer, substitute(value, known), store.indices))
    return tirx.SeqStmt(body) if len(body) > 1 else body[0]


def _nodes(function: Any) -> int:
    count = 0

    def visit(_: Any) -> None:
        nonlocal count
        count += 1

    tvm_ffi.structural_walk(function.body, visit, order="pre")
    return count


class _Load:
    """A Relax variable that kernels index; loads widen to int32 or float32."""

    def __init__(self, ops: TeOps, var: Any) -> None:
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
