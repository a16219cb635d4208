"""Channels last: Relax converts the convolutions and what it knows around them, this file moves the transposes that
are left below elementwise kernels, where they meet their inverse and vanish."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import tvm
import tvm_ffi
from tvm import relax, s_tir, te, tirx
from tvm.ir import GenericConst

from tilewright.targets.schedules.cpu_fallback import is_spatial, leaf_blocks
from tilewright.targets.schedules.cpu_ir import substitute

TO_CHANNELS_FIRST = (0, 3, 1, 2)
TO_CHANNELS_LAST = (0, 2, 3, 1)
# Elementwise operators that Relax's layout conversion stops at.
_ELEMENTWISE = """
    abs acos acosh asin asinh astype atan atanh bitwise_not ceil clip cos cosh equal erf exp floor floor_divide
    floor_mod greater greater_equal isfinite isinf isnan less less_equal log logical_and logical_not logical_or
    logical_xor maximum minimum mod negative not_equal power round rsqrt sigmoid sign sin sinh sqrt square tan
    tanh where add subtract multiply divide nn.relu nn.leakyrelu nn.gelu nn.gelu_tanh nn.silu nn.selu nn.softplus
"""


def channels_last(mod: Any) -> Any:
    """Converts ``main`` to NHWC wherever 2-D convolutions are."""
    mod = relax.transform.ConvertLayout({"relax.nn.conv2d": ["NHWC", "OIHW"]})(mod)
    mod = relax.transform.Normalize()(mod)
    return rewrite_main(mod, _SinkTransposes(mod))


def rewrite_main(mod: Any, rewriter: Any) -> Any:
    """Applies a mutator to ``main`` and drops what became unused."""
    (main,) = (var for var in mod.functions if var.name_hint == "main")
    rewriter.builder_.update_func(main, rewriter.visit_expr(mod[main]))
    return relax.transform.DeadCodeElimination()(rewriter.builder_.get())


def shape_of(expr: Any) -> tuple[int, ...]:
    """The static shape of a Relax expression."""
    return tuple(int(size) for size in expr.ty.shape)


def constant(array: npt.NDArray[Any]) -> Any:
    """A Relax constant."""
    return relax.const(np.ascontiguousarray(array), str(array.dtype))


def _axes(call: Any) -> tuple[int, ...]:
    axes = call.attrs.axes
    rank = len(shape_of(call))
    return tuple(reversed(range(rank))) if axes is None else tuple(int(axis) % rank for axis in axes)


@relax.expr_functor.mutator
class _SinkTransposes(relax.PyExprMutator):  # type: ignore[misc]
    """``f(transpose(x))`` becomes ``transpose(f'(x))`` for elementwise f; ``transpose(transpose(x))`` shrinks."""

    def __init__(self, mod: Any) -> None:
        super().__init__(mod)
        self.mod = mod

    def visit_call_(self, call: Any) -> Any:
        call = self.visit_expr_post_order(call)
        name = getattr(call.op, "name", "")
        if name == "relax.permute_dims":
            return self._shrink(call)
        if name == "relax.call_tir":
            sunk = self._sink(call)
            return call if sunk is None else sunk
        if name.removeprefix("relax.") in _ELEMENTWISE.split():
            sunk = self._sink_operator(call)
            return call if sunk is None else sunk
        return call

    def _transposed(self, expr: Any) -> Any:
        """The permute_dims call that a variable is bound to, or None."""
        value = self.lookup_binding(expr) if isinstance(expr, relax.Var) else None
        return (
            value
            if value is not None and getattr(getattr(value, "op", None), "name", "") == "relax.permute_dims"
            else None
        )

    def _shrink(self, call: Any) -> Any:
        if isinstance(call.args[0], GenericConst):  # a bias; FoldConstant would build and run a kernel for each
            return constant(call.args[0].value.numpy().transpose(_axes(call)))
        inner = self._transposed(call.args[0])
        if inner is None:
            return call
        first, second = _axes(inner), _axes(call)
        both = [first[axis] for axis in second]
        return inner.args[0] if both == sorted(both) else relax.op.permute_dims(inner.args[0], both)

    def _sources(self, call: Any, operands: Sequence[Any]) -> list[Any] | None:
        """What channels-first operands were transposed from; None unless there is one and all can follow it."""
        sources = [self._transposed(operand) for operand in operands]
        if not any(source is not None and _axes(source) == TO_CHANNELS_FIRST for source in sources):
            return None
        if not hasattr(call.ty, "shape") or any(len(shape_of(operand)) not in (0, 4) for operand in operands):
            return None
        return sources

    def _sink_operator(self, call: Any) -> Any:
        args = list(call.args)
        tensors = [index for index, arg in enumerate(args) if isinstance(arg.ty, relax.TensorType)]
        sources = self._sources(call, [args[index] for index in tensors])
        if sources is None:
            return None
        for index, source in zip(tensors, sources, strict=True):
            args[index] = self._to_last(args[index], source)
        result = self.builder_.emit(tvm.ir.Call(call.op, args, call.attrs, call.ty_args))
        return relax.op.permute_dims(result, TO_CHANNELS_FIRST)

    def _sink(self, call: Any) -> Any:
        operands = list(getattr(call.args[1], "fields", [call.args[1]]))
        sources = self._sources(call, operands)
        if sources is None or len(call.args) > 2:
            return None
        func = _permuted_elementwise(self.mod[call.args[0]])
        if func is None:
            return None
        moved = [self._to_last(operand, source) for operand, source in zip(operands, sources, strict=True)]
        shape = [shape_of(call)[axis] for axis in TO_CHANNELS_LAST]
        function = self.builder_.add_func(func, str(call.args[0].name_hint))
        result = self.builder_.emit(relax.call_tir(function, moved, out_ty=relax.TensorType(shape, str(call.ty.dtype))))
        return relax.op.permute_dims(result, TO_CHANNELS_FIRST)

    def _to_last(self, operand: Any, source: Any) -> Any:
        if source is not None and _axes(source) == TO_CHANNELS_FIRST:
            return source.args[0]
        if len(shape_of(operand)) != 4:
            return operand
        if isinstance(operand, GenericConst):
            return constant(operand.value.numpy().transpose(TO_CHANNELS_LAST))
        return self.builder_.emit(relax.op.permute_dims(operand, TO_CHANNELS_LAST))


def _permuted_elementwise(func: Any) -> Any:
    """The same elementwise kernel on channels-last tensors, or None if ``func`` is not elementwise over rank 4."""
    sch = s_tir.Schedule(func)
    blocks = leaf_blocks(sch)
    if len(blocks) != 1 or not is_spatial(sch, blocks[0]):
        return None
    block = sch.get(blocks[0])
    axes = [axis.var for axis in block.iter_vars]
    output = block.body.buffer
    inputs = [param for param in func.params if not param.same_as(output)]
    ranks = [len(buffer.shape) for buffer in inputs]
    if len(axes) != 4 or len(inputs) + 1 != len(func.params) or any(rank not in (0, 4) for rank in ranks):
        return None
    if not _in_place(block.body.indices, axes) or not _reads_in_place(block.body.value, axes):
        return None

    def permute(shape: Sequence[Any]) -> list[Any]:
        return [shape[axis] for axis in TO_CHANNELS_LAST] if len(shape) == 4 else list(shape)

    tensors = [te.placeholder(permute(buffer.shape), str(buffer.dtype), buffer.name) for buffer in inputs]

    def element(n: Any, h: Any, w: Any, c: Any) -> Any:
        def load(node: Any) -> Any:
            for buffer, tensor in zip(inputs, tensors, strict=True):
                if node.source.same_as(buffer):
                    return tensor(*permute(node.indices))
            return node

        value = tvm_ffi.structural_map(block.body.value, (tvm.ir.TensorLoad, load))
        return substitute(value, list(zip(axes, (n, c, h, w), strict=True)))

    result = te.compute(permute(output.shape), element, name=block.name_hint)
    return te.create_prim_func([*tensors, result])


def _in_place(indices: Sequence[Any], axes: Sequence[Any]) -> bool:
    return len(indices) == len(axes) and all(
        index.same_as(axis) or (isinstance(index, tirx.IntImm) and int(index) == 0)
        for index, axis in zip(indices, axes, strict=True)
    )


def _reads_in_place(value: Any, axes: Sequence[Any]) -> bool:
    good = True

    def visit(node: Any) -> None:
        nonlocal good
        if isinstance(node, tvm.ir.TensorLoad):
            good = good and (len(node.indices) == 0 or _in_place(node.indices, axes))

    tvm_ffi.structural_walk(value, visit, order="pre")
    return good
