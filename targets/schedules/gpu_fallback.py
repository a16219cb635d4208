"""The schedule that takes any PrimFunc: every stage that cannot be inlined becomes a kernel of its own.

Spatial axes go to work-items, reductions run serially inside one; what has no spatial axis, or is opaque (scans, sorts),
runs in a single work-item. Slow where it matters, but right: a grid-wide barrier between stages is a kernel boundary.
"""

from __future__ import annotations

from typing import Any

from tvm import s_tir, tirx

from tilewright.targets.schedules.gpu_common import (
    GpuLimits,
    bind_flat,
    inline_spatial,
    is_reduction,
    stages,
)


def schedule(func: Any, limits: GpuLimits) -> Any:
    """Schedules any PrimFunc. Returns an s_tir.Schedule."""
    sch = s_tir.Schedule(func)
    bind_rest(sch, limits)
    return sch


def bind_rest(sch: Any, limits: GpuLimits) -> None:
    """Inlines or binds every stage that is not bound yet."""
    inline_spatial(sch, keep=lambda sch, block_rv: _is_bound(sch, block_rv) or _feeds_bound(sch, block_rv))
    for block_rv in stages(sch):
        if not _is_bound(sch, block_rv):
            bind_stage(sch, block_rv, limits)


def _is_bound(sch: Any, block_rv: Any) -> bool:
    return any(sch.get(loop).thread_binding is not None for loop in sch.get_loops(block_rv))


def bind_stage(sch: Any, block_rv: Any, limits: GpuLimits) -> None:
    """Makes one top-level stage a kernel."""
    block = sch.get(block_rv)
    loops = sch.get_loops(block_rv)
    kinds = {int(iv.iter_type) for iv in block.iter_vars}
    if kinds - {tirx.IterVar.DataPar, tirx.IterVar.CommReduce} or len(loops) != len(block.iter_vars):
        _bind_single(sch, block_rv)
        return
    spatial = [lv for lv, iv in zip(loops, block.iter_vars, strict=True) if int(iv.iter_type) == tirx.IterVar.DataPar]
    reduced = [lv for lv, iv in zip(loops, block.iter_vars, strict=True) if int(iv.iter_type) != tirx.IterVar.DataPar]
    if not spatial:
        spatial = [sch.add_unit_loop(loops[0] if loops else block_rv)]
    sch.reorder(*spatial, *reduced)
    _, thread = bind_flat(sch, spatial, limits)
    if is_reduction(block) and reduced:
        _keep_in_register(sch, block_rv, thread)
        sch.decompose_reduction(block_rv, reduced[0])


def _bind_single(sch: Any, block_rv: Any) -> None:
    """One work-item runs the whole stage."""
    loops = sch.get_loops(block_rv)
    outer = sch.add_unit_loop(loops[0] if loops else block_rv)
    group, item = sch.split(outer, [1, 1])
    sch.bind(group, "blockIdx.x")
    sch.bind(item, "threadIdx.x")


def _keep_in_register(sch: Any, block_rv: Any, thread: Any) -> None:
    """Accumulates in private memory and stores once."""
    for index in range(len(sch.get(block_rv).writes)):
        sch.reverse_compute_at(sch.cache_write(block_rv, index, "local"), thread, preserve_unit_loops=True)


def _feeds_bound(sch: Any, block_rv: Any) -> bool:
    return any(_is_bound(sch, consumer) for consumer in sch.get_consumers(block_rv))
