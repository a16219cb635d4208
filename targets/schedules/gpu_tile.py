"""Register tiles for reductions: convolutions, products, pooling and whatever else has their access pattern.

A work-item computes a small tile of the output: ``tx`` elements along the innermost axis x by ``ty`` along an axis y
for which x's operands are used again (output channels of a convolution, rows of a product). Operands pass through
private arrays that unrolling turns into registers; local memory is left alone: on Mali it is no faster than the cache.

Rules, per reduction stage:
  T1  the elementwise stage that reads the result becomes an epilogue in the same kernel;
  T2  where x is short or odd, the axis outside it is fused into it if all operands run through both in order;
  T3  y is a spatial axis that x's operand does not use, while another operand uses it and not x;
  T4  an operand contiguous along x, y or the innermost reduction axis is loaded in vectors of four or two;
  T5  a sliding window is loaded once per kernel row and serves all kernel columns;
  T6  padding is written out by a kernel of its own where the padded input is used often (there is a y), for it costs
      little then and keeps branches out of the inner loop; elsewhere the window is filled with padding as it is loaded.
All other stages of the function become kernels by gpu_fallback.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from tvm import s_tir, tirx
from tvm.ir import Call

from tilewright.targets.schedules import gpu_fallback
from tilewright.targets.schedules.gpu_common import (
    Axis,
    GpuLimits,
    NotApplicable,
    axes,
    bind_flat,
    extent_of,
    inline_spatial,
    is_reduction,
    is_spatial,
    largest_divisor,
    loads,
    plain_floats,
    require,
    stages,
    uses,
)

_HELD = 20  # most elements of one operand that are held in registers: a 4x4 tile, or a window of 3 rows for 4 columns
_COLUMNS = 8  # most kernel columns that are unrolled
_LEAST_ITEMS = 1024  # work-items below which a smaller tile uses more of the device


@dataclass(frozen=True)
class _Shape:
    """What is tiled: names of R's iteration variables by role, and the tile's size."""

    x: Any
    y: Any | None
    tx: int
    ty: int


def schedule(func: Any, limits: GpuLimits) -> Any:
    """Tiles every reduction stage that can be; at least one must.

    Raises:
        NotApplicable: the function has no reduction that these rules fit.
    """
    sch = s_tir.Schedule(func)
    inline_spatial(sch, keep=is_padding)
    tiled, reasons = 0, []
    for name in [sch.get(rv).name_hint for rv in stages(sch) if is_reduction(sch.get(rv))]:
        for windows in (True, False):
            trial = sch.copy()
            try:
                tile_stage(trial, trial.get_sblock(name), limits, windows)
            except (NotApplicable, RuntimeError, ValueError) as reason:
                reasons.append(f"{name}: {reason}")
                continue
            sch, tiled = trial, tiled + 1
            break
    require(tiled, "; ".join(reasons) or "no reduction")
    gpu_fallback.bind_rest(sch, limits)
    return sch


def is_padding(sch: Any, block_rv: Any) -> bool:
    """Whether a stage copies one element or a constant: the padded input of one reduction."""
    block = sch.get(block_rv)
    consumers = sch.get_consumers(block_rv)
    value = block.body.value
    conditional = isinstance(value, Call) and getattr(value.op, "name", "").endswith("if_then_else")
    return conditional and len(loads(value)) == 1 and len(consumers) == 1 and is_reduction(sch.get(consumers[0]))


def tile_stage(sch: Any, reduction: Any, limits: GpuLimits, windows: bool) -> None:
    """Tiles one reduction, its padding and its epilogue, and binds the result to the grid.

    Args:
        windows: hold sliding windows in registers.

    Raises:
        NotApplicable: the rules do not fit, or an operand takes too many registers.
    """
    block = sch.get(reduction)
    require(len(block.writes) == 1 and isinstance(block.body, tirx.BufferStore), "several results")
    epilogue = _epilogue(sch, reduction)
    if epilogue is None:
        epilogue = sch.cache_write(reduction, 0, "local")
    _fuse_rows(sch, reduction, epilogue, limits)
    shape = _choose(axes(sch, reduction), _operands(sch, reduction), limits)
    outer, inner = _tile_epilogue(sch, epilogue, reduction, shape)
    sch.compute_at(reduction, outer[-1], preserve_unit_loops=True)
    sch.set_scope(reduction, 0, "local")
    first, spatial = _schedule_reduction(sch, reduction, shape, windows, limits)
    vectorise_or_unroll(sch, epilogue, inner, limits)
    bind_flat(sch, outer, limits)  # late: the primitives above want to see plain loops
    initial = sch.decompose_reduction(reduction, first)
    for loop in sch.get_loops(initial)[-spatial:]:
        sch.unroll(loop)


def _epilogue(sch: Any, reduction: Any) -> Any | None:
    """The one spatial stage that reads the reduction element by element, if there is such."""
    consumers = sch.get_consumers(reduction)
    if len(consumers) != 1 or not is_spatial(sch.get(consumers[0])):
        return None
    block = sch.get(consumers[0])
    result = sch.get(reduction).writes[0].source
    reads = [load for load in loads(block.body) if load.source.same_as(result)]
    extents = {axis.var: axis.extent for axis in axes(sch, consumers[0])}
    for load in reads:
        left = {var for var, extent in extents.items() if extent > 1}
        for index, size in zip(load.indices, result.shape, strict=True):
            if int(size) == 1:
                continue
            found = [var for var in left if index.same_as(var)]
            if not found:
                return None
            left.discard(found[0])
        if left:
            return None  # the result is broadcast: each element would be computed again
    return consumers[0]


def _operands(sch: Any, reduction: Any) -> list[Any]:
    """Loads of a reduction's operands; the index of each in the list of block reads is found by buffer."""
    block = sch.get(reduction)
    return [load for load in loads(block.body.value) if not load.source.same_as(block.body.buffer)]


def _spatial(found: list[Axis]) -> list[Axis]:
    return [axis for axis in found if not axis.is_reduction and axis.extent > 1]


def _load_uses(load: Any, var: Any) -> bool:
    return any(uses(index, var) for index in load.indices)


def _is_only(index: Any, var: Any, units: list[Any]) -> bool:
    """Whether an index is the variable itself, up to axes of one element (a 1x1 kernel's)."""
    if isinstance(index, tirx.Add):
        for unit in units:
            if index.b.same_as(unit):
                return _is_only(index.a, var, units)
    return bool(index.same_as(var))


def _fuse_rows(sch: Any, reduction: Any, epilogue: Any, limits: GpuLimits) -> None:
    """T2. Both blocks and the buffer between them get one axis in place of the innermost two."""
    found = [axis for axis in axes(sch, reduction) if not axis.is_reduction]
    if len(found) < 2 or found[-1].extent % limits.vector == 0 or found[-2].extent == 1:
        return
    row, column = found[-2], found[-1]
    units = [axis.var for axis in axes(sch, reduction) if axis.extent == 1]
    for load in _operands(sch, reduction):
        in_order = (
            len(load.indices) >= 2
            and _is_only(load.indices[-2], row.var, units)
            and _is_only(load.indices[-1], column.var, units)
            and int(load.source.shape[-1]) == column.extent
            and not any(uses(index, var) for index in load.indices[:-2] for var in (row.var, column.var))
        )
        if not in_order and (_load_uses(load, row.var) or _load_uses(load, column.var)):
            return
    if [axis.extent for axis in axes(sch, epilogue)] != [axis.extent for axis in found]:
        return
    width, count = column.extent, len(found)

    def fuse(*index: Any) -> list[Any]:
        return [*index[: count - 2], index[count - 2] * width + index[count - 1], *index[count:]]

    sch.transform_layout(reduction, ("write", 0), tirx.IndexMap.from_func(fuse, ndim=count))
    for block_rv in (reduction, epilogue):
        iter_count = len(sch.get(block_rv).iter_vars)
        sch.transform_block_layout(block_rv, tirx.IndexMap.from_func(fuse, ndim=iter_count))


def _choose(found: list[Axis], operands: list[Any], limits: GpuLimits) -> _Shape:
    """T3, and how large the tile is."""
    spatial = _spatial(found)
    require(spatial, "a single output element")
    x = spatial[-1]
    along = [load for load in operands if _load_uses(load, x.var)]
    require(along, "no operand runs along the innermost output axis")
    require(
        all(uses(load.indices[-1], x.var) or not load.indices for load in along)
        or any(load.indices[-1].same_as(x.var) for load in along),
        "operands are strided along the innermost output axis",
    )
    y = None
    for axis in spatial[:-1]:
        reused = any(not _load_uses(load, axis.var) for load in along)
        other = any(_load_uses(load, axis.var) and not _load_uses(load, x.var) for load in operands)
        y = axis if reused and other else y
    items = 1
    for axis in spatial:
        items *= axis.extent
    tx = limits.vector if x.extent % limits.vector == 0 else largest_divisor(x.extent, 8 if y else 4)
    ty = largest_divisor(y.extent, min(limits.accumulators // tx, 8)) if y else 1
    ty = next((t for t in (8, 4) if t <= ty and y and y.extent % t == 0), ty)
    while ty > 1 and items // (tx * ty) < _LEAST_ITEMS:
        ty = largest_divisor(ty, ty - 1)
    return _Shape(x.var, y.var if y else None, tx, ty)


def _tile_epilogue(sch: Any, epilogue: Any, reduction: Any, shape: _Shape) -> tuple[list[Any], list[Any]]:
    """Splits the epilogue's loops; returns the outer loops, which go to the grid, and the tile's."""
    written = [axis for axis in axes(sch, reduction) if not axis.is_reduction]
    result = sch.get(reduction).body
    read = next(load for load in loads(sch.get(epilogue).body.value) if load.source.same_as(result.buffer))
    outer, inner_y, inner_x = [], [], []
    place = {}
    for axis in written:
        for index, own in zip(result.indices, read.indices, strict=True):
            if index.same_as(axis.var):
                place[axis.var] = own
    for axis in axes(sch, epilogue):
        if axis.var.same_as(place.get(shape.x)):
            loop, tile = sch.split(axis.loop, [None, shape.tx])
            inner_x.append(tile)
        elif shape.y is not None and axis.var.same_as(place.get(shape.y)):
            loop, tile = sch.split(axis.loop, [None, shape.ty])
            inner_y.append(tile)
        else:
            loop = axis.loop
        outer.append(loop)
    require(inner_x, "the epilogue does not run along the tile")
    sch.reorder(*outer, *inner_y, *inner_x)
    return outer, [*inner_y, *inner_x]


def vectorise_or_unroll(sch: Any, block_rv: Any, loops: list[Any], limits: GpuLimits) -> None:
    """Unrolls a tile; its last loop runs in vectors, or halves of them, where that is safe and they divide the tile."""
    *rows, last = sorted(loops, key=lambda loop: extent_of(sch, loop) > 1)  # loops of one step go outside
    if len(loops) > 1:
        sch.reorder(*rows, last)
    extent = extent_of(sch, last)
    vector = next((size for size in (limits.vector, limits.vector // 2) if size > 1 and extent % size == 0), 1)
    if vector > 1 and plain_floats(sch.get(block_rv).body):
        if extent > vector:
            outer, last = sch.split(last, [None, vector])
            rows.append(outer)
        sch.vectorize(last)
    else:
        rows.append(last)
    for loop in rows:
        sch.unroll(loop)


def _schedule_reduction(sch: Any, reduction: Any, shape: _Shape, windows: bool, limits: GpuLimits) -> tuple[Any, int]:
    """T4 and T5: order of loops, operands in registers, unrolling.

    Returns the outermost reduction loop and the number of spatial ones.
    """
    iter_vars = sch.get(reduction).iter_vars
    all_loops = sch.get_loops(reduction)
    own = all_loops[-len(iter_vars) :]
    spatial = [loop for loop, iv in zip(own, iter_vars, strict=True) if int(iv.iter_type) == tirx.IterVar.DataPar]
    reduced = [loop for loop, iv in zip(own, iter_vars, strict=True) if int(iv.iter_type) != tirx.IterVar.DataPar]
    require(reduced, "a reduction over nothing")
    unit = [loop for loop in reduced if extent_of(sch, loop) == 1]
    long = [loop for loop in reduced if extent_of(sch, loop) > 1] or [unit.pop()]
    steps = _Steps(sch, reduction, dict(zip([iv.var for iv in iter_vars], own, strict=True)), long, shape, windows)
    sch.reorder(*unit, *long, *spatial)
    steps.split(spatial, limits)
    steps.load_operands(limits)
    for loop in spatial:
        sch.unroll(loop)
    return sch.get_loops(reduction)[len(all_loops) - len(iter_vars)], len(spatial)


class _Steps:
    """The reduction loops of one tile, and at which of them each operand is loaded."""

    def __init__(
        self, sch: Any, reduction: Any, loop_of: dict[Any, Any], long: list[Any], shape: _Shape, windows: bool
    ) -> None:
        self.sch, self.reduction, self.loop_of, self.long = sch, reduction, loop_of, long
        self.reused, self.windows = shape.y is not None, windows
        self.tile = [var for var in (shape.x, shape.y) if var is not None]
        self.vector_var: Any = None  # reduction variable that operands are contiguous along
        self.vector_level: Any = None  # where these operands are loaded
        self.level = long[-1]  # where the others are

    def split(self, spatial: list[Any], limits: GpuLimits) -> None:
        """Splits one reduction loop by the vector length: one that an operand is contiguous along, if there is any."""
        chosen = self.long[-1]
        for var, loop in self.loop_of.items():
            if loop in self.long and any(_last(load).same_as(var) for load in _operands(self.sch, self.reduction)):
                chosen, self.vector_var = loop, var
        if extent_of(self.sch, chosen) % limits.vector or (self.vector_var is None and len(self.long) > 1):
            self.vector_var = None
            if extent_of(self.sch, self.level) <= _COLUMNS:
                self.sch.unroll(self.level)
            return
        self.vector_level, self.level = self.sch.split(chosen, [None, limits.vector])
        rest = [loop for loop in self.long if loop is not chosen]
        self.sch.reorder(*rest, self.vector_level, self.level, *spatial)
        self.sch.unroll(self.level)

    def load_operands(self, limits: GpuLimits) -> None:
        """Puts what one step needs of each operand into a private array."""
        seen: list[Any] = []
        for load in _operands(self.sch, self.reduction):
            if any(load.source.same_as(other) for other in seen):
                continue
            seen.append(load.source)
            place = self._place(load)
            if place is None:
                continue
            stage, at = place
            self.sch.compute_at(stage, at, preserve_unit_loops=True)
            self.sch.set_scope(stage, 0, "local")
            loops = self.sch.get_loops(stage)[-len(self.sch.get(stage).iter_vars) :]
            held = math.prod(extent_of(self.sch, loop) for loop in loops)
            require(held <= _HELD, f"an operand takes {held} registers")
            vectorise_or_unroll(self.sch, stage, loops, limits)

    def _place(self, load: Any) -> tuple[Any, Any] | None:
        """The stage that fills an operand's array, and the loop that it goes under; None to load where it is used."""
        at = self.level
        if self.vector_var is not None and _last(load).same_as(self.vector_var):
            at = self.vector_level
        window = self._window(load)
        if window is not None:
            at = window
        for producer in self.sch.get_producers(self.reduction):
            if self.sch.get(producer).writes[0].source.same_as(load.source):
                if self.reused:
                    break
                if window is not None:
                    return producer, at
                self.sch.compute_inline(producer)
                return None
        reads = self.sch.get(self.reduction).reads
        index = next(i for i, read in enumerate(reads) if read.source.same_as(load.source))
        scattered = any(uses(i, var) and not i.same_as(var) for i in load.indices for var in self.tile)
        if window is None and scattered:  # strided, or rows that were fused: pick the elements that are needed
            needed = [_load_uses(load, var) for var in self.loop_of]
            gather = self.sch.reindex_cache_read(
                self.reduction,
                index,
                "local",
                tirx.IndexMap.from_func(
                    lambda *axes: [axis for axis, used in zip(axes, needed, strict=True) if used],
                    ndim=len(needed),
                ),
            )
            return gather, at
        return self.sch.cache_read(self.reduction, index, "local"), at

    def _window(self, load: Any) -> Any | None:
        """The loop outside the kernel columns, if this operand is a window that slides along them."""
        if not self.windows or len(self.long) < 2 or self.vector_level is not None:
            return None
        column = next(var for var, loop in self.loop_of.items() if loop is self.long[-1])
        slides = uses(_last(load), column) and not _last(load).same_as(column)
        if not slides or extent_of(self.sch, self.long[-1]) > _COLUMNS:
            return None
        return self.long[-2]


def _last(load: Any) -> Any:
    """The innermost index that is not into a dimension of one element."""
    long = [index for index, size in zip(load.indices, load.source.shape, strict=True) if int(size) > 1]
    return long[-1] if long else load.indices[-1]
