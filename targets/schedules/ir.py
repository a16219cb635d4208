"""Small helpers to write loop nests as TIR, and the register tile that kernels of matrices are built from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import tvm_ffi
from tvm import tirx

SERIAL, PARALLEL, VECTORIZED = tirx.ForKind.SERIAL, tirx.ForKind.PARALLEL, tirx.ForKind.VECTORIZED


def i64(value: int) -> Any:
    """An int64 constant."""
    return tirx.IntImm("int64", value)


def i64s(*values: int) -> tuple[Any, ...]:
    """A shape. Relax's are int64, and fusion wants PrimFuncs to agree."""
    return tuple(i64(value) for value in values)


def loop(extent: Any, body: Callable[[Any], Any], kind: Any = SERIAL, name: str = "i") -> Any:
    """``for name in range(extent): body(name)``; a single iteration needs no loop."""
    if isinstance(extent, int):
        if extent == 1 and kind != VECTORIZED:
            return body(i64(0))
        extent = i64(extent)
    var = tirx.Var(name, "int64")
    return tirx.For(var, i64(0), extent, kind, body(var))


def sequence(statements: Sequence[Any]) -> Any:
    """The statements one after the other; at least one."""
    return statements[0] if len(statements) == 1 else tirx.SeqStmt(list(statements))


def unflatten(index: Any, shape: Sequence[int]) -> list[Any]:
    """The coordinates of a flat index into ``shape``."""
    found: list[Any] = []
    for size in reversed(shape):
        found.insert(0, tirx.floormod(index, size) if size > 1 else i64(0))
        index = tirx.floordiv(index, size)
    return found


def substitute(expr: Any, values: Sequence[tuple[Any, Any]]) -> Any:
    """``expr`` with every variable of ``values`` replaced."""

    def replace(var: Any) -> Any:
        return next((value for old, value in values if var.same_as(old)), var)

    return tvm_ffi.structural_map(expr, (tirx.Var, replace))


class Statements:
    """Statements that bind variables, in order.

    Attributes:
        made: so far.
    """

    def __init__(self) -> None:
        self.made: list[Any] = []

    def bind(self, name: str, value: Any) -> Any:
        """A variable of that value."""
        var = tirx.Var(name, str(value.ty.dtype) if hasattr(value, "ty") else str(value.dtype))
        self.made.append(tirx.Bind(var, value))
        return var


@dataclass(frozen=True)
class RegisterTile:
    """Accumulators for ``rows`` x ``vectors`` x ``lanes`` results, meant to stay in vector registers.

    All indices are constants once built, so that LLVM splits the buffer into registers.
    """

    rows: int
    vectors: int
    lanes: int
    buffer: Any

    @classmethod
    def make(cls, rows: int, vectors: int, lanes: int, name: str = "acc", dtype: str = "float32") -> RegisterTile:
        shape = (i64(rows * vectors * lanes),)
        return cls(rows, vectors, lanes, tirx.decl_buffer(shape, dtype, name=name, scope="local"))

    @property
    def vector_type(self) -> str:
        return vector_type(str(self.buffer.dtype), self.lanes)

    def offset(self, row: int, vector: int) -> int:
        return (row * self.vectors + vector) * self.lanes

    def _at(self, row: int, vector: int) -> list[Any]:
        return [ramp(i64(self.offset(row, vector)), self.lanes)]

    def load(self, row: int, vector: int) -> Any:
        """One vector of the tile."""
        return tirx.BufferLoad(self.buffer, self._at(row, vector))

    def fill(self, value: float) -> list[Any]:
        """Statements that allocate the tile and set every element."""
        return [tirx.AllocBuffer(self.buffer), *self.clear(value)]

    def clear(self, value: float) -> list[Any]:
        """Statements that set every element."""
        constant = broadcast(tirx.const(value, str(self.buffer.dtype)), self.lanes)
        return [
            tirx.BufferStore(self.buffer, constant, self._at(row, vector))
            for row in range(self.rows)
            for vector in range(self.vectors)
        ]

    def multiply_add(self, scalars: Sequence[Any], weights: Sequence[Any]) -> Any:
        """``acc[row, vector] += scalars[row] * weights[vector]``; a row whose scalar is None stays as it is."""
        statements: list[Any] = []
        bound = []
        for value in weights:
            bound.append(tirx.Var("w", self.vector_type))
            statements.append(tirx.Bind(bound[-1], value))
        for row, scalar in enumerate(scalars):
            if scalar is None:
                continue
            x = tirx.Var("x", self.vector_type)
            statements.append(tirx.Bind(x, broadcast(scalar, self.lanes)))
            for vector, w in enumerate(bound):
                at = self._at(row, vector)
                statements.append(tirx.BufferStore(self.buffer, self.load(row, vector) + x * w, at))
        return sequence(statements)

    def combine(self, row: int, vector: int, function: Callable[[Any], Any]) -> Any:
        """``acc[row, vector] = function(acc[row, vector])`` on vectors."""
        at = self._at(row, vector)
        return tirx.BufferStore(self.buffer, function(self.load(row, vector)), at)


def prefetch(buffer: Any, indices: Sequence[Any]) -> Any:
    """The call that fetches an element's cache line into the first level; it may lie beyond the buffer's end."""
    address = tirx.address_of(tirx.BufferLoad(buffer, list(indices)))
    read, all_levels, data = (tirx.IntImm("int32", value) for value in (0, 3, 1))
    return tirx.call_llvm_intrin("void", "llvm.prefetch", address, read, all_levels, data)


def vector_type(dtype: str, lanes: int) -> str:
    """The type of ``lanes`` elements."""
    return dtype if lanes == 1 else f"{dtype}x{lanes}"


def ramp(start: Any, lanes: int) -> Any:
    """``lanes`` consecutive indices."""
    return start if lanes == 1 else tirx.Ramp(start, i64(1), lanes)


def padded(inside: Any, value: Any) -> Any:
    """``value`` where the condition holds, else zero; ``value`` is not read there."""
    return tirx.if_then_else(inside, value, tirx.const(0, str(value.dtype)))


def broadcast(value: Any, lanes: int) -> Any:
    """``value`` in every lane."""
    return value if lanes == 1 else tirx.Broadcast(value, lanes)
