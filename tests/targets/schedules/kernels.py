"""A PrimFunc through the cpu rules alone."""

from __future__ import annotations

from typing import Any

import tvm

from tilewright.targets import resolve
from tilewright.targets.base import Target


def scheduled(func: Any, device: str) -> Any:
    """The scheduled PrimFunc for a cpu device."""
    target: Target = resolve(device)
    return target.schedule(tvm.IRModule({"kernel": func}))["kernel"]


def scheduled_text(func: Any, device: str) -> str:
    return str(scheduled(func, device).script()) + "\n"
