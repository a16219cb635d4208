"""Which GPU schedule a PrimFunc gets: the first rule that takes it and keeps the device's limits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tvm
from tvm import s_tir, tirx

from tilewright.errors import Problem, UnsupportedError
from tilewright.targets.schedules import (
    gpu_astc,
    gpu_compressed,
    gpu_compressed_conv,
    gpu_fallback,
    gpu_quantize,
    gpu_tile,
)
from tilewright.targets.schedules.gpu_common import GpuLimits, NotApplicable, nodes
from tilewright.targets.schedules.gpu_math import expand_math
from tilewright.targets.tir import buffer_bytes, device_lower

Rule = Callable[[Any, GpuLimits], Any]  # (PrimFunc, limits) -> s_tir.Schedule or PrimFunc; raises NotApplicable

RULES: tuple[tuple[str, Rule], ...] = (
    ("compressed", gpu_compressed.schedule),
    ("compressed_conv", gpu_compressed_conv.schedule),
    ("astc", gpu_astc.schedule),
    ("quantize", gpu_quantize.schedule),
    ("tile", gpu_tile.schedule),
    ("stages", gpu_fallback.schedule),
    ("serial", gpu_fallback.schedule_serial),
)


def schedule(mod: Any, target: Any, limits: GpuLimits) -> Any:
    """Schedules every PrimFunc of a fused module; the rule's name becomes its ``tilewright.rule`` attribute.

    Raises:
        UnsupportedError: functions that no rule can put on the device, all of them listed.
    """
    functions, problems = {}, []
    with target:
        for var, func in mod.functions.items():
            if isinstance(func, tirx.PrimFunc):
                try:
                    func = schedule_one(func, target, limits)
                except NotApplicable as reason:
                    remedy = "report it with the model: the GPU targets have a gap here"
                    problems.append(Problem(var.name_hint, str(reason), remedy))
            functions[var] = func
    if problems:
        raise UnsupportedError(f"Kernels that cannot be scheduled for {target.kind.name}:", problems)
    return tvm.IRModule(functions, attrs=mod.attrs)


def schedule_one(func: Any, target: Any, limits: GpuLimits) -> Any:
    """Schedules one PrimFunc by the first rule that fits.

    Raises:
        NotApplicable: no rule fits; the message gives each rule's reason.
    """
    func = expand_math(func, limits)
    reasons = []
    for name, rule in RULES:
        try:
            scheduled = rule(func, limits)
            scheduled = scheduled.mod["main"] if isinstance(scheduled, s_tir.Schedule) else scheduled
            _check(scheduled, target, limits)
        except (NotApplicable, RuntimeError, ValueError) as error:
            reasons.append(f"{name}: {str(error).strip().splitlines()[-1] if str(error) else type(error).__name__}")
            continue
        return scheduled.with_attr("tilewright.rule", name)
    raise NotApplicable("; ".join(reasons))


def _check(func: Any, target: Any, limits: GpuLimits) -> None:
    """Lowers the function alone: a schedule that TVM cannot lower is found here, not in the whole network."""
    lowered = device_lower({"kernel": func}, target)
    for call in lowered.functions["kernel"].calls:
        threads = call.block[0] * call.block[1] * call.block[2]
        if threads > limits.threads:
            raise NotApplicable(f"a group of {threads} work-items, the limit is {limits.threads}")
    for kernel in lowered.module.functions.values():
        used = local_bytes(kernel)
        if used > limits.local_bytes:
            raise NotApplicable(f"{used} bytes of local memory, the limit is {limits.local_bytes}")


def local_bytes(kernel: Any) -> int:
    """Bytes of local (CUDA: static shared) memory that a lowered device function allocates."""
    allocated = [node.buffer for node in nodes(kernel.body, tirx.AllocBuffer)]
    return sum(buffer_bytes(buffer) for buffer in allocated if buffer.scope().startswith("shared"))
