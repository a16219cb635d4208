"""The rules of the cpu family, in order; the first that takes a PrimFunc schedules it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tilewright.targets.base import Device
from tilewright.targets.schedules.cpu_astc import astc_rule
from tilewright.targets.schedules.cpu_compressed import compressed_rule
from tilewright.targets.schedules.cpu_conv import conv2d_rule
from tilewright.targets.schedules.cpu_fallback import fallback
from tilewright.targets.schedules.cpu_gather import gather_rule
from tilewright.targets.schedules.cpu_math import expand_math
from tilewright.targets.schedules.cpu_matmul import matmul_rule
from tilewright.targets.schedules.cpu_planar_kernel import planar_rule
from tilewright.targets.schedules.cpu_quantize import quantize_rule
from tilewright.targets.schedules.cpu_stage import stage_rule
from tilewright.targets.schedules.cpu_transpose import transpose_rule
from tilewright.targets.schedules.cpu_window import window_rule
from tilewright.targets.schedules.cpu_winograd_kernel import winograd_rule

Rule = Callable[[Any, Device], Any]  # (PrimFunc, device) -> PrimFunc, or None for "not mine"

RULES: tuple[Rule, ...] = (
    conv2d_rule,
    winograd_rule,
    window_rule,
    matmul_rule,
    compressed_rule,
    astc_rule,
    planar_rule,
    gather_rule,
    quantize_rule,
    stage_rule,
    transpose_rule,
    fallback,
)


def schedule(func: Any, device: Device) -> Any:
    """Schedules one PrimFunc by the first rule that takes it."""
    for rule in RULES:
        scheduled = rule(func, device)
        if scheduled is not None:
            return expand_math(scheduled)
    raise AssertionError("the last rule takes everything")
