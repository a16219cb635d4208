"""Local buffers on the stack, one a vector where only constants index them, so that LLVM keeps them in registers.

TVM takes local memory from the runtime: a call for every buffer, and LLVM stores every vector of a tile when the tile
is done, since somebody else might read it. Only small buffers of the default scope are on the stack, from where LLVM
moves them into registers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import tvm
import tvm_ffi
from tvm import tirx

_ON_STACK = 1024  # bytes; TVM's kMaxStackAlloca
_POINTERS = ("tirx.address_of", "tirx.buffer_data")  # for intrinsics, and for buffers that share memory

_Span = tuple[int, int]  # first element, end


def split_registers(func: Any) -> Any:
    """Moves the local buffers of a PrimFunc, whose buffers are flat, to the stack where they fit."""
    pieces = _pieces(func.body)

    def replace(node: Any) -> Any:
        if isinstance(node, tirx.AllocBuffer):
            parts = pieces.get(node.buffer)
            made = [tirx.AllocBuffer(part) for part in (parts or {}).values()]
            return tirx.SeqStmt(made) if len(made) > 1 else made[0] if made else node
        loads = isinstance(node, tvm.ir.TensorLoad)
        parts = pieces.get(node.source if loads else node.buffer)
        if parts is None:
            return node
        part, index = _place(parts, node.indices[0])
        return tirx.BufferLoad(part, [index]) if loads else tirx.BufferStore(part, node.value, [index])

    kinds = (tvm.ir.TensorLoad, tirx.BufferStore, tirx.AllocBuffer)
    return func.with_body(tvm_ffi.structural_map(func.body, (kinds, replace))) if pieces else func


def on_stack(buffer: Any) -> bool:
    """Whether TVM leaves a buffer of static shape on the stack."""
    size = math.prod(int(extent) for extent in buffer.shape) * tvm.DataType(str(buffer.dtype)).itemsize
    return str(buffer.scope()) == "global" and size < _ON_STACK


def _pieces(body: Any) -> dict[Any, Mapping[_Span, Any]]:
    """What each local buffer becomes: buffers by the elements that they hold."""
    sizes: dict[Any, int] = {}
    reached: dict[Any, set[_Span | None]] = {}
    shared: set[Any] = set()

    def visit(node: Any) -> None:
        if isinstance(node, tirx.AllocBuffer) and node.buffer.scope() == "local" and len(node.buffer.shape) == 1:
            sizes[node.buffer] = int(node.buffer.shape[0])
        elif isinstance(node, tvm.ir.TensorLoad):
            reached.setdefault(node.source, set()).add(_span(node.indices[0]))
        elif isinstance(node, tirx.BufferStore):
            reached.setdefault(node.buffer, set()).add(_span(node.indices[0]))
        elif isinstance(node, tvm.ir.Call) and getattr(node.op, "name", "") in _POINTERS:
            (taken,) = node.args
            shared.add(taken.source if isinstance(taken, tvm.ir.TensorLoad) else taken)

    tvm_ffi.structural_walk(body, visit, order="post")
    found: dict[Any, Mapping[_Span, Any]] = {}
    for buffer, size in sizes.items():
        if buffer in shared:
            continue
        spans = reached.get(buffer, set())
        if None not in spans:
            found[buffer] = {run: _part(buffer, *run) for run in _runs({span for span in spans if span})}
        elif on_stack(whole := _part(buffer, 0, size)):
            found[buffer] = {(0, size): whole}
    return found


def _runs(spans: set[_Span]) -> list[_Span]:
    """Elements that accesses overlap in, together."""
    runs: list[_Span] = []
    for start, end in sorted(spans):
        if runs and start < runs[-1][1]:
            runs[-1] = (runs[-1][0], max(end, runs[-1][1]))
        else:
            runs.append((start, end))
    return runs


def _part(buffer: Any, first: int, end: int) -> Any:
    return tirx.decl_buffer((end - first,), str(buffer.dtype), name=f"{buffer.name}_{first}")


def _span(index: Any) -> _Span | None:
    """The elements that a constant index reaches."""
    lanes = 1
    if isinstance(index, tirx.Ramp):
        if not isinstance(index.stride, tirx.IntImm) or int(index.stride) != 1:
            return None
        index, lanes = index.base, int(index.lanes)
    return (int(index), int(index) + lanes) if isinstance(index, tirx.IntImm) else None


def _place(parts: Mapping[_Span, Any], index: Any) -> tuple[Any, Any]:
    """The part that an index reaches, and the index there, of the same type."""
    span = _span(index)
    if span is None:  # such a buffer is one part
        (part,) = parts.values()
        return part, index
    ((first, part),) = [(run[0], part) for run, part in parts.items() if run[0] <= span[0] and span[1] <= run[1]]
    start = span[0] - first
    if not isinstance(index, tirx.Ramp):
        return part, tirx.IntImm(str(index.ty.dtype), start)
    return part, tirx.Ramp(tirx.IntImm(str(index.base.ty.dtype), start), index.stride, index.lanes)
