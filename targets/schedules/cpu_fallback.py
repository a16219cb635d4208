"""The schedule of last resort: right for every PrimFunc, and vectorised and parallel wherever its blocks are regular.

Rules, per PrimFunc:
  F1  elementwise blocks between others disappear into their readers when that repeats no expensive work;
  F2  a block without reduction runs its last axis in vectors;
  F3  a reduction over outer axes (pooling in NHWC, column sums) runs its last spatial axis in vectors;
  F4  a reduction over the last axis keeps one partial result a vector lane, then adds the lanes up;
  F5  outer axes run in parallel when the block is worth starting the pool.
A block that does not fit a rule keeps its loops. Schedule primitives never change meaning, so neither do these rules.
"""

from __future__ import annotations

import math
from typing import Any

import tvm
import tvm_ffi
from tvm import s_tir, sym, tirx

from tilewright.targets.base import Device
from tilewright.targets.schedules.fused import inline_elementwise, leaf_blocks
from tilewright.targets.tir import dtype_bytes

PARALLEL_WORK = 1 << 16  # inner iterations below which starting the pool costs more than it gains
_SPATIAL, _REDUCE = tirx.IterVar.DataPar, tirx.IterVar.CommReduce


def fallback(func: Any, device: Device) -> Any:
    """Schedules any PrimFunc; never returns None."""
    for attempt in (_full, _parallel_only):
        try:
            return attempt(func, device)
        except (s_tir.ScheduleError, tvm.error.InternalError, ValueError):
            continue
    return func


def _full(func: Any, device: Device) -> Any:
    sch = s_tir.Schedule(func)
    inline_elementwise(sch)
    for block in leaf_blocks(sch):
        _schedule_block(sch, block, device)
    return sch.mod["main"]


def _parallel_only(func: Any, device: Device) -> Any:
    sch = s_tir.Schedule(func)
    for block in leaf_blocks(sch):
        spatial, _ = _split_loops(sch, block)
        if spatial and _work(sch, block) >= PARALLEL_WORK:
            sch.parallel(sch.fuse(*spatial) if len(spatial) > 1 else spatial[0])
    return sch.mod["main"]


# ---------------------------------------------------------------- looking at blocks


def _loop_extents(sch: Any, loops: list[Any]) -> list[int]:
    return [int(sch.get(loop).extent) for loop in loops]


def _work(sch: Any, block: Any) -> int:
    return math.prod(_loop_extents(sch, sch.get_loops(block)))


def _split_loops(sch: Any, block: Any) -> tuple[list[Any], list[Any]]:
    """Loops over leading spatial axes, and the rest; all are rest unless loops and axes correspond one to one."""
    loops = sch.get_loops(block)
    axes = sch.get(block).iter_vars
    if len(loops) != len(axes):
        return [], loops
    count = 0
    while count < len(axes) and int(axes[count].iter_type) == _SPATIAL:
        count += 1
    if any(int(axis.iter_type) != _REDUCE for axis in axes[count:]):
        return [], loops
    return loops[:count], loops[count:]


# ---------------------------------------------------------------- one block


def lanes_of(sch: Any, block: Any, device: Device) -> int:
    """Vector lanes for the widest element a block touches."""
    stmt = sch.get(block)
    widths = [dtype_bytes(str(region.source.dtype)) for region in stmt.writes]
    return max(1, int(device.facts["vector_bytes"]) // max([4, *widths]))


def _schedule_block(sch: Any, block: Any, device: Device) -> None:
    spatial, reduce = _split_loops(sch, block)
    if not spatial and not reduce:
        return
    lanes = lanes_of(sch, block, device)
    big = _work(sch, block) >= PARALLEL_WORK
    if not reduce:
        if not spatial:
            return
        _vectorize_spatial(sch, block, spatial, lanes, big)
    elif _last_axis_is_contiguous(sch, block) and spatial:
        _column_reduction(sch, block, spatial, reduce, lanes, big)
    else:
        _row_reduction(sch, block, spatial, reduce, lanes, big)


def vector_factor(extent: int, lanes: int, registers: int = 4) -> int:
    """The widest vector that divides ``extent``: up to ``registers``, at least half of one; 1 if there is none."""
    widest = min(extent, registers * lanes)
    best = max(d for d in range(1, widest + 1) if extent % d == 0 and (d <= lanes or d % lanes == 0))
    return best if 2 * best >= min(lanes, extent) else 1


def _parallel(sch: Any, loops: list[Any]) -> None:
    if loops:
        sch.parallel(sch.fuse(*loops) if len(loops) > 1 else loops[0])


def _vectorize_spatial(sch: Any, block: Any, loops: list[Any], lanes: int, big: bool) -> None:
    *outer, last = loops
    extent = int(sch.get(last).extent)
    # Lanes that are gathered are read one by one: more registers gain no speed and take kilobytes of code.
    factor = vector_factor(extent, lanes, 1 if _gathers(sch, block) else 4)
    if sch.get(block).alloc_buffers:  # memory of an element's own would have to be that of all lanes
        factor = 1
    if factor > 1:
        inner_loops = sch.split(last, [None, factor]) if factor < extent else [None, last]
        sch.vectorize(inner_loops[1])
        if inner_loops[0] is not None:
            outer = [*outer, inner_loops[0]] if big and math.prod(_loop_extents(sch, outer)) < 64 else outer
    if big:
        _parallel(sch, outer if outer else ([] if factor > 1 else [last]))


def _gathers(sch: Any, block: Any) -> bool:
    """Whether neighbours along the last spatial axis read elements of a tensor that are not neighbours."""
    stmt = sch.get(block)
    last, found = [axis.var for axis in stmt.iter_vars if int(axis.iter_type) == _SPATIAL][-1], False

    def visit(node: Any) -> None:
        nonlocal found
        if isinstance(node, tvm.ir.TensorLoad) and node.indices:
            *outer, inner = (any(map(last.same_as, tirx.analysis.undefined_vars(index))) for index in node.indices)
            parts = sym.detect_linear_equation(node.indices[-1], [last]) if inner else ()
            found = found or any(outer) or (inner and not (parts and int(parts[0]) == 1))

    tvm_ffi.structural_walk(stmt.body, visit, order="pre")
    return found


def _last_axis_is_contiguous(sch: Any, block: Any) -> bool:
    """Whether the last spatial axis is the fastest of every tensor that the reduction reads along it."""
    stmt = sch.get(block)
    if not isinstance(stmt.body, tirx.BufferStore):
        return False
    spatial = [axis.var for axis in stmt.iter_vars if int(axis.iter_type) == _SPATIAL]
    if not spatial or not stmt.body.indices or not stmt.body.indices[-1].same_as(spatial[-1]):
        return False
    last, good = spatial[-1], True

    def visit(node: Any) -> None:
        nonlocal good
        if isinstance(node, tvm.ir.TensorLoad) and node.indices:
            used = [tirx.analysis.undefined_vars(index) for index in node.indices]
            inside = [any(var.same_as(last) for var in variables) for variables in used]
            good = good and (
                not any(inside) or (inside[-1] and not any(inside[:-1]) and node.indices[-1].same_as(last))
            )

    tvm_ffi.structural_walk(stmt.body.value, visit, order="pre")
    return good


def _column_reduction(sch: Any, block: Any, spatial: list[Any], reduce: list[Any], lanes: int, big: bool) -> None:
    *outer, last = spatial
    extent = int(sch.get(last).extent)
    factor = vector_factor(extent, lanes)
    if factor == 1:
        if big:
            _parallel(sch, outer)
        return
    chunk, vector = sch.split(last, [None, factor])
    sch.reorder(chunk, *reduce, vector)
    outer = [*outer, chunk]
    fused = sch.fuse(*outer) if len(outer) > 1 else outer[0]
    result = sch.cache_write(block, 0, "local")
    sch.reverse_compute_at(result, fused)
    sch.vectorize(sch.get_loops(result)[-1])
    sch.vectorize(vector)
    if big:
        sch.parallel(fused)
    init = sch.decompose_reduction(block, reduce[0])
    sch.vectorize(sch.get_loops(init)[-1])


def _is_indirect(expr: Any) -> bool:
    """Whether places are read from memory.

    Lanes gain nothing then, and LLVM 22 errs where AVX-512 lanes gather bytes of several bit planes.
    """
    found = False

    def visit(node: Any) -> None:
        nonlocal found
        if isinstance(node, tvm.ir.TensorLoad):
            found = found or any(map(_reads, node.indices))

    tvm_ffi.structural_walk(expr, visit, order="pre")
    return found


def _reads(expr: Any) -> bool:
    found = False

    def visit(node: Any) -> None:
        nonlocal found
        found = found or isinstance(node, tvm.ir.TensorLoad)

    tvm_ffi.structural_walk(expr, visit, order="pre")
    return found


def _row_reduction(sch: Any, block: Any, spatial: list[Any], reduce: list[Any], lanes: int, big: bool) -> None:
    length = math.prod(_loop_extents(sch, reduce))
    body = sch.get(block).body
    simple = isinstance(body, tirx.BufferStore) and not _is_indirect(body.value)
    if simple and length % lanes == 0 and length >= 2 * lanes and sch.get(block).body.buffer.dtype == "float32":
        fused = sch.fuse(*reduce) if len(reduce) > 1 else reduce[0]
        _, lane = sch.split(fused, [None, lanes])
        partial = sch.rfactor(lane, len(spatial))
        loops = sch.get_loops(partial)
        *rows, inner, vector = loops
        sch.reorder(*rows[: len(spatial)], *rows[len(spatial) :], inner, vector)
        del fused, rows, inner, vector
        spatial = sch.get_loops(block)[: len(spatial)]
    if big:
        _parallel(sch, spatial)
