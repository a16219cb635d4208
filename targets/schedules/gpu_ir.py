"""Small helpers to write GPU kernels as TIR loop nests."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tvm import tirx

from tilewright.targets.schedules.ir import i64


def launch(sizes: Sequence[tuple[str, int]], body: Callable[..., Any]) -> Any:
    """A kernel: ``body(*indices)`` for all work-groups and work-items.

    Args:
        sizes: (axis, extent), outermost first; axes are "blockIdx.x", "threadIdx.y" ...
    """
    variables = [tirx.Var(axis.replace(".", "_"), "int64") for axis, _ in sizes]
    result = body(*variables)
    for (axis, extent), var in reversed(list(zip(sizes, variables, strict=True))):
        thread = tirx.IterVar(None, tirx.Var(axis, "int64"), tirx.IterVar.ThreadIndex, axis)
        result = tirx.For(var, i64(0), i64(extent), tirx.ForKind.THREAD_BINDING, result, thread)
    return result


def between(first: Any, count: Any, body: Callable[[Any], Any], name: str) -> Any:
    """``for name in range(first, first + count): body(name)``."""
    var = tirx.Var(name, "int64")
    return tirx.For(var, first, count, tirx.ForKind.SERIAL, body(var))


def guarded(conditions: Sequence[Any], statement: Any) -> Any:
    """The statement where all conditions hold; none is as good as true."""
    if not conditions:
        return statement
    return tirx.IfThenElse(tirx.all(*conditions), statement, None)


def bound(dtype: str, name: str, value: Any) -> tuple[Any, Any]:
    """A variable and the statement that gives it its value."""
    var = tirx.Var(name, dtype)
    return var, tirx.Bind(var, value)


def ramp(start: Any, lanes: int) -> Any:
    """Neighbouring indices, of the type of the first."""
    return start if lanes == 1 else tirx.Ramp(start, tirx.const(1, str(start.ty.dtype)), lanes)
