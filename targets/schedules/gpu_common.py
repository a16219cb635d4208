"""What all GPU schedules share: the limits they keep, facts about blocks, inlining, and thread binding."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import tvm_ffi
from tvm import s_tir, tirx
from tvm.ir import TensorLoad

# Inlining may repeat an expression once a use; above this many nodes more, a stage of its own is cheaper.
_INLINE_NODES = 600


@dataclass(frozen=True)
class GpuLimits:
    """What one kernel may take of a device.

    Attributes:
        threads: work-items of a group, at most.
        group: work-items of a group that schedules aim at.
        local_bytes: local (shared) memory of a group, at most.
        accumulators: 32-bit registers a work-item may spend on an output tile; the rest holds operands and addresses.
        vector: elements of one load or store.
        registers: of 32 bits, that a work-item can have at all.
        unaligned: vectors may lie anywhere, as OpenCL's vload allows.
        dot_product: four products of bytes are one instruction.
        half_pairs: two operations on halves are one instruction, and kernels have functions for them (gpu_pairs.py).
        serial: work-items run one after another, each on vectors, as on a CPU; on a GPU side by side.
    """

    threads: int
    group: int
    local_bytes: int
    accumulators: int
    vector: int = 4
    registers: int = 64
    unaligned: bool = False
    dot_product: bool = False
    half_pairs: bool = False
    serial: bool = False

    @classmethod
    def of(cls, facts: Mapping[str, Any]) -> GpuLimits:
        """The limits that a device's TOML facts mean for a schedule."""
        return cls(
            threads=min(int(facts["max_work_group_size"]), 256),
            group=int(facts["work_group_size"]),
            local_bytes=min(int(facts["local_memory_bytes"]), 32 * 1024),
            accumulators=int(facts["accumulators"]),
            registers=int(facts["registers"]),
            unaligned="archs" not in facts,  # those of CUDA
            dot_product=bool(facts["dot_product"]),
            half_pairs="archs" in facts and int(facts["fp16_rate"]) > 1,
            serial=int(facts["warp_width"]) == 1,
        )

    @property
    def lanes(self) -> int:
        """Work-items side by side that read neighbouring vectors of four words: lines of 64 bytes."""
        return 1 if self.serial else 4

    @property
    def outputs(self) -> int:
        """Outputs of a work-item that multiplies few rows, at most."""
        return 8 if self.serial else 4


class NotApplicable(Exception):
    """A schedule rule does not fit the function it was given; the next rule is tried."""


@dataclass(frozen=True)
class Axis:
    """One loop of a block."""

    loop: Any  # LoopRV
    var: Any  # the block's iteration variable
    extent: int
    is_reduction: bool


def require(condition: object, why: str) -> None:
    """Raises NotApplicable unless the condition holds."""
    if not condition:
        raise NotApplicable(why)


def stages(sch: Any) -> list[Any]:
    """The blocks directly under the root, in program order."""
    return list(sch.get_child_blocks(sch.get_sblock("root")))


def is_spatial(block: Any) -> bool:
    """Whether every iteration writes elements of its own and reads none that it wrote."""
    return all(int(iv.iter_type) == tirx.IterVar.DataPar for iv in block.iter_vars)


def is_reduction(block: Any) -> bool:
    """Whether the block has an initial value and folds over at least one axis."""
    kinds = {int(iv.iter_type) for iv in block.iter_vars}
    return block.init is not None and kinds <= {tirx.IterVar.DataPar, tirx.IterVar.CommReduce}


def axes(sch: Any, block_rv: Any) -> list[Axis]:
    """The block's loops with the iteration variables they run.

    Raises:
        NotApplicable: loops and variables are not one to one, or an extent is not constant.
    """
    block, loops = sch.get(block_rv), sch.get_loops(block_rv)
    realize = tvm_ffi.get_global_func("s_tir.schedule.GetSBlockRealize")(sch, block_rv)
    require(len(loops) == len(block.iter_vars), "loops and block axes differ in number")
    result = []
    for loop_rv, iter_var, value in zip(loops, block.iter_vars, realize.iter_values, strict=True):
        loop = sch.get(loop_rv)
        extent = loop.extent
        require(isinstance(extent, tirx.IntImm), "a loop extent is not constant")
        require(value.same_as(loop.loop_var) or int(extent) == 1, "a block axis is not one loop")
        kind = int(iter_var.iter_type)
        result.append(Axis(loop_rv, iter_var.var, int(extent), kind == tirx.IterVar.CommReduce))
    return result


def nodes(root: Any, *kinds: Any) -> list[Any]:
    """Every node of a TIR expression or statement that is of one of these classes (any, if none), parents first."""
    found: list[Any] = []
    # The walker filters by class in C++, which is much cheaper than a call into Python for every node.
    visit = [(kind, found.append) for kind in kinds] if kinds else found.append
    tvm_ffi.structural_walk(root, visit, order="pre")
    return found


def loads(root: Any) -> list[Any]:
    """The buffer loads inside an expression or statement."""
    return nodes(root, TensorLoad)


def uses(expr: Any, var: Any) -> bool:
    """Whether the variable occurs in the expression."""
    return any(node.same_as(var) for node in nodes(expr, tirx.Var))


def plain_floats(stmt: Any) -> bool:
    """Whether a statement is float arithmetic that may run in vectors: no comparison, no integers, no branches."""
    allowed = (tirx.Add, tirx.Sub, tirx.Mul, tirx.Max, tirx.Min, tirx.Cast, TensorLoad, tirx.FloatImm)
    value = stmt.value if isinstance(stmt, tirx.BufferStore) else None
    pending = [value]
    while pending:
        node = pending.pop()
        if not isinstance(node, allowed) or str(node.ty) not in ("float32", "float16"):
            return False
        if isinstance(node, tirx.Cast):
            pending.append(node.value)
        elif not isinstance(node, (TensorLoad, tirx.FloatImm)):
            pending += [node.a, node.b]
    return True


def inline_spatial(sch: Any, keep: Callable[[Any, Any], bool] | None = None) -> None:
    """Inlines every spatial stage into its consumers where that is legal and does not blow the expression up.

    Args:
        keep: says of a stage (schedule, block) that it shall stay.
    """
    for block_rv in stages(sch):
        block = sch.get(block_rv)
        if not is_spatial(block) or not sch.get_consumers(block_rv) or not _worth_inlining(sch, block_rv):
            continue
        if keep is not None and keep(sch, block_rv):
            continue
        try:
            sch.compute_inline(block_rv)
        except s_tir.ScheduleError:
            continue  # an output, or an opaque consumer: it stays a stage


def _worth_inlining(sch: Any, block_rv: Any) -> bool:
    block = sch.get(block_rv)
    written = block.writes[0].source if len(block.writes) == 1 else None
    if written is None or not isinstance(block.body, tirx.BufferStore):
        return False
    times = 0
    for consumer_rv in sch.get_consumers(block_rv):
        times += sum(load.source.same_as(written) for load in loads(sch.get(consumer_rv).body))
    return (times - 1) * len(nodes(block.body.value)) <= _INLINE_NODES


def largest_divisor(extent: int, at_most: int) -> int:
    """The largest divisor of ``extent`` that is not above ``at_most``."""
    return max(d for d in range(1, min(extent, max(at_most, 1)) + 1) if extent % d == 0)


def group_size(total: int, limits: GpuLimits) -> int:
    """Work-items of a group for ``total`` of them: a divisor near the preferred size if there is one, else that size.

    A divisor spares the kernel a range check around every statement; a quarter of the preferred size is worth that.
    """
    if total <= limits.group:
        return total
    divisor = max(d for d in range(1, limits.group + 1) if total % d == 0)
    return divisor if 4 * divisor >= limits.group else limits.group


def bind_flat(sch: Any, loops: list[Any], limits: GpuLimits) -> tuple[Any, Any]:
    """Fuses loops and binds them to work-groups and work-items; the last group may be partly idle."""
    fused = sch.fuse(*loops) if len(loops) > 1 else loops[0]
    total = int(sch.get(fused).extent)
    group = group_size(total, limits)
    block, thread = sch.split(fused, [None, group])
    sch.bind(block, "blockIdx.x")
    sch.bind(thread, "threadIdx.x")
    return block, thread


def extent_of(sch: Any, loop: Any) -> int:
    """A loop's extent.

    Raises:
        NotApplicable: it depends on data or on an outer loop.
    """
    extent = sch.get(loop).extent
    require(isinstance(extent, tirx.IntImm), "a loop of varying extent")
    return int(extent)
