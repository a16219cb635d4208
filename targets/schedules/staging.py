"""Activations on their way to kernels of compressed weights, in Relax: the bytes that floats were made of, values known
before, and small kernels that move elements."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import tvm
from tvm import relax, s_tir, te
from tvm.ir import GenericConst

from tilewright.targets.layer_rewriter import LayerRewriter, constant, shape_of
from tilewright.targets.schedules.fused import leaf_blocks
from tilewright.targets.schedules.ir import i64s

Array = npt.NDArray[Any]

QUANTIZE, DEQUANTIZE = "quantize", "dequantize"  # the names that the importer gives such blocks
_OPAQUE = 8  # Relax's OpPatternKind: never fused


@dataclass(frozen=True)
class Quantized:
    """Activations that are bytes: value = (data - zero_point) * scale; the latter are scalars, as Relax expressions."""

    data: Any  # uint8
    scale: Any  # float32
    zero_point: Any  # int32


def quantized_source(rewriter: LayerRewriter, data: Any) -> Quantized | None:
    """What float activations were dequantized from, if with one scale for all."""
    call: Any = rewriter.lookup_binding(data) if isinstance(data, relax.Var) else None
    name = getattr(getattr(call, "op", None), "name", "")
    if name in ("relax.permute_dims", "relax.reshape"):  # moves bytes as well as floats
        inner = quantized_source(rewriter, call.args[0])
        if inner is None:
            return None
        moved = tvm.ir.Call(call.op, [inner.data, *call.args[1:]], call.attrs, call.ty_args)
        return replace(inner, data=rewriter.emit(moved))
    operands = kernel_operands(rewriter, data, DEQUANTIZE)
    if operands is None:
        return None
    integers, scale, *zero = operands
    dtype = str(integers.ty.dtype)
    if dtype not in ("uint8", "int8") or any(math.prod(shape_of(p)) != 1 for p in (scale, *zero)):
        return None
    zero_point = _scalar(rewriter, zero[0], "int32") if zero else relax.const(0, "int32")
    if dtype == "int8":
        integers = _unsigned(rewriter, integers)
        zero_point = folded(rewriter, relax.op.add, zero_point, relax.const(128, "int32"))
    return Quantized(integers, _scalar(rewriter, scale, "float32"), zero_point)


def kernel_operands(rewriter: LayerRewriter, expr: Any, block: str) -> list[Any] | None:
    """What a kernel of one block of that name reads; None if a variable is bound to something else."""
    call: Any = rewriter.lookup_binding(expr) if isinstance(expr, relax.Var) else None
    if getattr(getattr(call, "op", None), "name", "") != "relax.call_tir":
        return None
    sch = s_tir.Schedule(rewriter.builder_.get()[call.args[0]])
    blocks = leaf_blocks(sch)
    if len(blocks) != 1 or sch.get(blocks[0]).name_hint != block:
        return None
    return list(call.args[1].fields)


def known(rewriter: LayerRewriter, expr: Any) -> Any:
    """The value of a constant, or None."""
    if isinstance(expr, relax.Var):
        expr = rewriter.lookup_binding(expr)
    return expr.value.numpy() if isinstance(expr, GenericConst) else None


_NUMPY = {"multiply": np.multiply, "add": np.add, "subtract": np.subtract}


def folded(rewriter: LayerRewriter, operator: Any, left: Any, right: Any) -> Any:
    """``operator(left, right)``, at once where both are known."""
    a, b = known(rewriter, left), known(rewriter, right)
    name = getattr(operator, "__name__", "")
    if a is not None and b is not None:
        return constant(_NUMPY[name](a, b) if name in _NUMPY else a.astype(np.float32))
    return rewriter.emit(operator(left, right))


def _scalar(rewriter: LayerRewriter, expr: Any, dtype: str) -> Any:
    value = known(rewriter, expr)
    if value is not None:
        return constant(value.reshape(()).astype(dtype))
    flat = expr if not shape_of(expr) else rewriter.emit(relax.op.reshape(expr, ()))
    return flat if str(flat.ty.dtype) == dtype else rewriter.emit(relax.op.astype(flat, dtype))


def dequantized(
    rewriter: LayerRewriter, result: Any, quantized: Quantized, offset: int, sums: Array, factor: Array
) -> Any:
    """What a kernel made of bytes, as floats, not yet emitted: (result - (zero - offset) * sums) * factor * scale.

    Args:
        result: int32, or float32 where groups have scales.
        offset: what bytes were lowered by before the kernel multiplied them.
        sums, factor: of the weights, of shapes that broadcast to the result's; sums are of its type.
    """
    zero = folded(rewriter, relax.op.subtract, quantized.zero_point, relax.const(offset, "int32"))
    if sums.dtype != np.int32:
        zero = folded(rewriter, lambda a, _: relax.op.astype(a, "float32"), zero, zero)
    exact = rewriter.emit(relax.op.subtract(result, folded(rewriter, relax.op.multiply, constant(sums), zero)))
    wide = exact if sums.dtype != np.int32 else rewriter.emit(relax.op.astype(exact, "float32"))
    return relax.op.multiply(wide, folded(rewriter, relax.op.multiply, constant(factor), quantized.scale))


def emit_te(rewriter: LayerRewriter, name: str, shape: Sequence[int], dtype: str, element: Any, *inputs: Any) -> Any:
    """A kernel of one block; ``element(placeholders of the inputs, coordinates)`` is what it stores."""
    places = [te.placeholder(i64s(*shape_of(x)), str(x.ty.dtype), f"p{n}") for n, x in enumerate(inputs)]
    result = te.compute(i64s(*shape), lambda *at: element(places, at), name=name)
    function = te.create_prim_func([*places, result])
    if name in ("pad", "widen"):
        function = function.with_attr("op_pattern", _OPAQUE)  # not part of the kernel in front: the shape differs
    return rewriter.emit_kernel(function, name, inputs, shape, dtype)


def _unsigned(rewriter: LayerRewriter, data: Any) -> Any:
    """int8 as uint8, 128 higher."""

    def element(places: Any, at: Any) -> Any:
        return (places[0](*at).astype("int32") + 128).astype("uint8")

    return emit_te(rewriter, "unsigned", shape_of(data), "uint8", element, data)


def position_major(rewriter: LayerRewriter, data: Any, batch: Sequence[int], channels: int, taps: int) -> Any:
    """A flattened NCHW image as a flattened NHWC image."""
    emit = rewriter.emit
    split = emit(relax.op.reshape(data, (*batch, channels, taps)))
    rank = len(batch) + 2
    order = [*range(rank - 2), rank - 1, rank - 2]
    return emit(relax.op.reshape(emit(relax.op.permute_dims(split, order)), (*batch, taps * channels)))
