"""The schedule that takes any PrimFunc: every stage that cannot be inlined becomes a kernel of its own.

Spatial axes go to work-items. A reduction runs serially inside one, or across a work-group where there are few results
and many terms. What has no spatial axis, or is opaque (scans, sorts), runs in a single work-item. Right always: between
stages lies the end of a kernel, the only barrier that a whole grid has.
"""

from __future__ import annotations

import math
from typing import Any

from tvm import s_tir, tirx

from tilewright.targets.schedules.gpu_common import (
    GpuLimits,
    bind_flat,
    extent_of,
    inline_spatial,
    is_reduction,
    nodes,
    stages,
)

_FEW_RESULTS = 256  # fewer work-items than this keep no GPU busy


def schedule(func: Any, limits: GpuLimits) -> Any:
    """Schedules any PrimFunc whose reductions TVM can run across a work-group. Returns an s_tir.Schedule."""
    sch = s_tir.Schedule(func)
    bind_rest(sch, limits)
    return sch


def schedule_serial(func: Any, limits: GpuLimits) -> Any:
    """Schedules any PrimFunc: no reduction, whatever its operator, is shared by work-items."""
    sch = s_tir.Schedule(func)
    bind_rest(sch, limits, groups=False)
    return sch


def bind_rest(sch: Any, limits: GpuLimits, groups: bool = True) -> None:
    """Inlines or binds every stage that is not bound yet.

    Args:
        groups: a work-group may share a reduction.
    """
    inline_spatial(sch, keep=lambda sch, block_rv: _is_bound(sch, block_rv) or _feeds_bound(sch, block_rv))
    for block_rv in stages(sch):
        if not _is_bound(sch, block_rv):
            bind_stage(sch, block_rv, limits, groups)


def _is_bound(sch: Any, block_rv: Any) -> bool:
    return any(sch.get(loop).thread_binding is not None for loop in sch.get_loops(block_rv))


def bind_stage(sch: Any, block_rv: Any, limits: GpuLimits, groups: bool = True) -> None:
    """Makes one top-level stage a kernel."""
    block = sch.get(block_rv)
    if _launches_itself(block):
        return
    loops = sch.get_loops(block_rv)
    kinds = {int(iv.iter_type) for iv in block.iter_vars}
    static = all(isinstance(sch.get(loop).extent, tirx.IntImm) for loop in loops)
    regular = kinds <= {tirx.IterVar.DataPar, tirx.IterVar.CommReduce} and len(loops) == len(block.iter_vars)
    if not static or not regular:
        _bind_single(sch, block_rv)
        return
    spatial = [lv for lv, iv in zip(loops, block.iter_vars, strict=True) if int(iv.iter_type) == tirx.IterVar.DataPar]
    reduced = [lv for lv, iv in zip(loops, block.iter_vars, strict=True) if int(iv.iter_type) != tirx.IterVar.DataPar]
    if not spatial:
        spatial = [sch.add_unit_loop(loops[0] if loops else block_rv)]
    sch.reorder(*spatial, *reduced)
    if groups and is_reduction(block) and _wants_group(sch, spatial, reduced, limits):
        _reduce_across_group(sch, spatial, reduced, limits)
        return
    _, thread = bind_flat(sch, spatial, limits)
    if is_reduction(block) and reduced:
        _keep_in_register(sch, block_rv, thread)
        sch.decompose_reduction(block_rv, reduced[0])


def _launches_itself(block: Any) -> bool:
    """Whether the stage comes with work-items of its own, as TOPI's scatter kernels do."""
    return any(str(node.attr_key) == "thread_extent" for node in nodes(block.body, tirx.AttrStmt)) or any(
        node.kind == tirx.ForKind.THREAD_BINDING for node in nodes(block.body, tirx.For)
    )


def _wants_group(sch: Any, spatial: list[Any], reduced: list[Any], limits: GpuLimits) -> bool:
    """Whether a work-item a result would leave most of the device idle for long."""
    results = math.prod(extent_of(sch, loop) for loop in spatial)
    terms = math.prod(extent_of(sch, loop) for loop in reduced)
    return bool(results <= _FEW_RESULTS and terms >= 2 * limits.group)


def _reduce_across_group(sch: Any, spatial: list[Any], reduced: list[Any], limits: GpuLimits) -> None:
    """A work-group a result: work-items take every n-th term, then add up through local memory."""
    result = sch.fuse(*spatial)
    _, item = sch.split(sch.fuse(*reduced), [None, limits.group])
    sch.bind(result, "blockIdx.x")
    sch.bind(item, "threadIdx.x")


def _bind_single(sch: Any, block_rv: Any) -> None:
    """One work-item runs the whole stage."""
    loops = sch.get_loops(block_rv)
    outer = sch.add_unit_loop(loops[0] if loops else block_rv)
    group, item = sch.split(outer, [1, 1])
    sch.bind(group, "blockIdx.x")
    sch.bind(item, "threadIdx.x")


def _keep_in_register(sch: Any, block_rv: Any, thread: Any) -> None:
    """Accumulates in private memory and stores once; several results (argmax) stay where they are."""
    if len(sch.get(block_rv).writes) == 1:
        sch.reverse_compute_at(sch.cache_write(block_rv, 0, "local"), thread, preserve_unit_loops=True)


def _feeds_bound(sch: Any, block_rv: Any) -> bool:
    return any(_is_bound(sch, consumer) for consumer in sch.get_consumers(block_rv))
