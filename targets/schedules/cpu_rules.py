"""The rules of the cpu family, in order; the first that takes a PrimFunc schedules it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tilewright.targets.base import Device
from tilewright.targets.schedules.cpu_fallback import fallback

Rule = Callable[[Any, Device], Any]  # (PrimFunc, device) -> PrimFunc, or None for "not mine"

RULES: tuple[Rule, ...] = (fallback,)


def prepare(mod: Any, device: Device) -> Any:
    """Relax rewrites before legalisation."""
    return mod


def schedule(func: Any, device: Device) -> Any:
    """Schedules one PrimFunc by the first rule that takes it; attributes are kept."""
    for rule in RULES:
        scheduled = rule(func, device)
        if scheduled is not None:
            return scheduled
    raise AssertionError("the last rule takes everything")
