"""Channels last: Relax converts the convolutions and what it knows around them, this file moves the transposes that
are left below elementwise kernels, where they meet their inverse and vanish."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy.typing as npt
import tvm
import tvm_ffi
from tvm import relax, s_tir, te, tirx
from tvm.ir import GenericConst

from tilewright.targets.layer_rewriter import constant, shape_of
from tilewright.targets.schedules.fused import is_spatial, leaf_blocks
from tilewright.targets.schedules.ir import i64, substitute
from tilewright.targets.static import TEMPLATE
from tilewright.targets.tir import var_name

TO_CHANNELS_FIRST = (0, 3, 1, 2)
TO_CHANNELS_LAST = (0, 2, 3, 1)
_POOLS = {"relax.nn.max_pool2d": relax.op.nn.max_pool2d, "relax.nn.avg_pool2d": relax.op.nn.avg_pool2d}
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


def _axes(call: Any) -> tuple[int, ...]:
    axes = call.attrs.axes
    rank = len(shape_of(call))
    return tuple(reversed(range(rank))) if axes is None else tuple(int(axis) % rank for axis in axes)


def _is_single(shape: Sequence[int]) -> bool:
    """Whether a tensor of that shape broadcasts to any layout of a rank-4 tensor as it is."""
    return len(shape) < 4 and math.prod(shape) == 1


def _can_follow(operand: Any) -> bool:
    """Whether an operand of an elementwise operator can be brought to channels last."""
    shape = shape_of(operand)
    return len(shape) == 4 or _is_single(shape) or (isinstance(operand, GenericConst) and len(shape) < 4)


@relax.expr_functor.mutator
class _SinkTransposes(relax.PyExprMutator):  # type: ignore[misc]
    """``f(transpose(x))`` becomes ``transpose(f'(x))`` for elementwise f; ``transpose(transpose(x))`` shrinks."""

    def __init__(self, mod: Any) -> None:
        super().__init__(mod)
        self.mod = mod
        self.layer = ""  # name of the binding under visit, which carries the ONNX node's name

    def visit_var_binding_(self, binding: Any) -> None:
        self.layer = var_name(binding.var)
        super().visit_var_binding_(binding)

    def visit_call_(self, call: Any) -> Any:
        call = self.visit_expr_post_order(call)
        name = getattr(call.op, "name", "")
        if name == "relax.permute_dims":
            return self._shrink(call)
        if name in _POOLS:
            return self._sink_pool(call)
        if name == "relax.reshape":
            known = self._known(call.args[0])
            return call if known is None else constant(known.reshape(shape_of(call)))
        if name == "relax.call_tir":
            if TEMPLATE in (self.mod[call.args[0]].attrs or {}):
                return call
            sunk = self._sink(call)
            return self._fusible(call) if sunk is None else sunk
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

    def _known(self, expr: Any) -> npt.NDArray[Any] | None:
        """The value of a constant. Biases are reshaped and transposed here: FoldConstant builds a kernel for each."""
        if isinstance(expr, relax.Var):
            expr = self.lookup_binding(expr)
        return expr.value.numpy() if isinstance(expr, GenericConst) else None

    def _shrink(self, call: Any) -> Any:
        known = self._known(call.args[0])
        if known is not None:
            return constant(known.transpose(_axes(call)))
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
        if not hasattr(call.ty, "shape") or not all(_can_follow(operand) for operand in operands):
            return None
        return sources

    def _sink_pool(self, call: Any) -> Any:
        """Pooling of an image that was channels last before."""
        attrs, source = call.attrs, self._transposed(call.args[0])
        if source is None or _axes(source) != TO_CHANNELS_FIRST or str(attrs.layout) != "NCHW":
            return call
        pool = _POOLS[call.op.name]
        sizes = [attrs.pool_size, attrs.strides, attrs.padding, attrs.dilation, bool(attrs.ceil_mode)]
        pooled = pool(source.args[0], *sizes, bool(attrs.count_include_pad), layout="NHWC")
        return relax.op.permute_dims(self.builder_.emit(pooled, self.layer), TO_CHANNELS_FIRST)

    def _sink_operator(self, call: Any) -> Any:
        args = list(call.args)
        tensors = [index for index, arg in enumerate(args) if isinstance(arg.ty, relax.TensorType)]
        sources = self._sources(call, [args[index] for index in tensors])
        if sources is None:
            return None
        for index, source in zip(tensors, sources, strict=True):
            args[index] = self._to_last(args[index], source)
        result = self.builder_.emit(tvm.ir.Call(call.op, args, call.attrs, call.ty_args), self.layer)
        return relax.op.permute_dims(result, TO_CHANNELS_FIRST)

    def _sink(self, call: Any) -> Any:
        operands = list(getattr(call.args[1], "fields", [call.args[1]]))
        sources = self._sources(call, operands)
        if sources is None or len(call.args) > 2:
            return None
        func = _restated(self.mod[call.args[0]], TO_CHANNELS_LAST)
        if func is None:
            return None
        moved = [self._to_last(operand, source) for operand, source in zip(operands, sources, strict=True)]
        shape = [shape_of(call)[axis] for axis in TO_CHANNELS_LAST]
        function = self.builder_.add_func(func, str(call.args[0].name_hint))
        result = self.builder_.emit(
            relax.call_tir(function, moved, out_ty=relax.TensorType(shape, str(call.ty.dtype))), self.layer
        )
        return relax.op.permute_dims(result, TO_CHANNELS_FIRST)

    def _fusible(self, call: Any) -> Any:
        """An elementwise kernel with axes of one element, restated so that it fuses."""
        if not hasattr(call.ty, "shape") or 1 not in shape_of(call):
            return call
        func = _restated(self.mod[call.args[0]], range(len(shape_of(call))))
        if func is None:
            return call
        return tvm.ir.Call(
            call.op,
            [self.builder_.add_func(func, str(call.args[0].name_hint)), *call.args[1:]],
            call.attrs,
            call.ty_args,
        )

    def _to_last(self, operand: Any, source: Any) -> Any:
        if source is not None and _axes(source) == TO_CHANNELS_FIRST:
            return source.args[0]
        shape = shape_of(operand)
        if _is_single(shape):
            return operand
        if isinstance(operand, GenericConst):
            array = operand.value.numpy()
            return constant(array.reshape((1,) * (4 - len(shape)) + shape).transpose(TO_CHANNELS_LAST))
        return self.builder_.emit(relax.op.permute_dims(operand, TO_CHANNELS_LAST))


def _restated(func: Any, order: Sequence[int]) -> Any:
    """The same elementwise kernel on tensors whose axes are permuted by ``order``; None if ``func`` is something else.

    Axes of one element are read at the output's index instead of 0: only then does fusion see an elementwise kernel.
    """
    sch = s_tir.Schedule(func)
    blocks = leaf_blocks(sch)
    if len(blocks) != 1 or not is_spatial(sch, blocks[0]):
        return None
    block, rank = sch.get(blocks[0]), len(order)
    axes = [axis.var for axis in block.iter_vars]
    output = block.body.buffer
    inputs = [param for param in func.params if not param.same_as(output)]
    if len(axes) != rank or len(inputs) + 1 != len(func.params) or not _in_place(block.body.indices, axes):
        return None
    moves = list(order) != sorted(order)
    if moves and not _reads_in_place(block.body.value, axes):
        return None

    def permute(values: Sequence[Any]) -> list[Any]:
        return [values[axis] for axis in order] if len(values) == rank else list(values)

    def fill(values: Sequence[Any], shape: Sequence[int], filler: Any) -> list[Any]:
        """Leading axes that broadcasting implies, for operands that ``_to_last`` gives them to."""
        return list(values) if not moves or _is_single(shape) else [filler] * (rank - len(values)) + list(values)

    shapes = [[int(size) for size in buffer.shape] for buffer in inputs]
    tensors = [
        te.placeholder(permute(fill(buffer.shape, shape, i64(1))), str(buffer.dtype), buffer.name)
        for buffer, shape in zip(inputs, shapes, strict=True)
    ]
    single = [int(size) == 1 for size in output.shape]

    def element(*new_axes: Any) -> Any:
        def load(node: Any) -> Any:
            for buffer, shape, tensor in zip(inputs, shapes, tensors, strict=True):
                if node.source.same_as(buffer):
                    indices = fill(node.indices, shape, i64(0))
                    if len(indices) == rank:
                        sizes = fill(shape, shape, 1)  # an operand's own axis must be single: a gather's need not be
                        indices = [
                            a if one and size == 1 else i
                            for i, a, one, size in zip(indices, axes, single, sizes, strict=True)
                        ]
                    return tensor(*permute(indices))
            return node

        old = [new_axes[list(order).index(axis)] for axis in range(rank)]
        value = tvm_ffi.structural_map(block.body.value, (tvm.ir.TensorLoad, load))
        return substitute(value, list(zip(axes, old, strict=True)))

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
            single = _is_single([int(size) for size in node.source.shape])
            good = good and (single or _in_place(node.indices, axes[len(axes) - len(node.indices) :]))

    tvm_ffi.structural_walk(value, visit, order="pre")
    return good
