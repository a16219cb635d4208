"""The rules that every plan in an artifact keeps; the C++ loader enforces the same."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

import numpy as np

from tilewright.errors import ArtifactError
from tilewright.plan import ARENA_ALIGNMENT, COPY, ENTROPY, RAW, Buffer, BufferKind, Launch, Plan

DTYPES: Final = (
    "bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64",
    "float16", "float32", "float64",
)  # fmt: skip
"""NumPy dtype names; the index is the code in the file."""

MAX_RANK: Final = 32


class _Stage(NamedTuple):
    """What a list of launches may touch, and what a copy in it may write."""

    name: str
    touched: frozenset[BufferKind]
    written: frozenset[BufferKind]


_RUN: Final = _Stage(
    "", frozenset(BufferKind) - {BufferKind.TEMPORARY}, frozenset({BufferKind.ARENA, BufferKind.OUTPUT})
)
_LOAD: Final = _Stage(
    "prologue ",
    frozenset({BufferKind.CONSTANT, BufferKind.STATIC, BufferKind.TEMPORARY}),
    frozenset({BufferKind.STATIC, BufferKind.TEMPORARY}),
)


def check(plan: Plan) -> None:
    """Holds a plan against the rules.

    Raises:
        ArtifactError: lists everything that is wrong.
    """
    wrong: list[str] = []
    for index, buffer in enumerate(plan.buffers):
        wrong += [f"buffer %{index} {buffer.name}: {what}" for what in _buffer_faults(plan, buffer)]
    for label, kind, listed in (
        ("input", BufferKind.INPUT, plan.inputs),
        ("output", BufferKind.OUTPUT, plan.outputs),
    ):
        held = sorted(i for i, buffer in enumerate(plan.buffers) if buffer.kind is kind)
        if sorted(listed) != held:
            wrong.append(f"{label}s {list(listed)} are not exactly the {label} buffers {held}")
        names = [plan.buffers[i].name for i in held]
        if len(set(names)) != len(names):
            wrong.append(f"two {label}s have one name: {names}")
    for stage, launches in ((_RUN, plan.launches), (_LOAD, plan.prologue)):
        for number, launch in enumerate(launches):
            faults = _launch_faults(plan, launch, stage)
            wrong += [f"{stage.name}launch {number} {launch.kernel}: {what}" for what in faults]
    wrong += [f"module {module.name}: no image" for module in plan.modules if not module.images]
    if wrong:
        raise ArtifactError("\n".join(["invalid plan:", *(f"  - {line}" for line in wrong)]))


def _buffer_faults(plan: Plan, buffer: Buffer) -> Iterable[str]:
    if buffer.dtype not in DTYPES:
        yield f"dtype {buffer.dtype!r} is not one of {', '.join(DTYPES)}"
        return
    if len(buffer.shape) > MAX_RANK or any(dim < 0 for dim in buffer.shape) or buffer.nbytes >= 1 << 63:
        yield f"bad shape {buffer.shape}"
        return
    arenas = {
        BufferKind.ARENA: plan.arena_bytes,
        BufferKind.STATIC: plan.static_bytes,
        BufferKind.TEMPORARY: plan.temporary_bytes,
    }
    if buffer.kind in arenas:
        label = buffer.kind.name.lower()
        if buffer.offset % ARENA_ALIGNMENT:
            yield f"{label} offset {buffer.offset} is not a multiple of {ARENA_ALIGNMENT}"
        end = buffer.offset + buffer.nbytes
        if not 0 <= buffer.offset <= end <= arenas[buffer.kind]:
            yield f"bytes {buffer.offset}..{end} lie outside the {label} memory of {arenas[buffer.kind]} bytes"
    elif buffer.kind is BufferKind.CONSTANT:
        if buffer.data is None:
            yield "constant without data"
        elif buffer.data.shape != buffer.shape or buffer.data.dtype != np.dtype(buffer.dtype):
            yield f"data is {buffer.data.dtype} {buffer.data.shape}, not {buffer.dtype} {buffer.shape}"
    if buffer.texel_buffer and (buffer.kind not in (BufferKind.CONSTANT, BufferKind.STATIC) or not buffer.texels):
        yield "no texel buffer: those are constants of whole texels"
    if buffer.storage not in (RAW, ENTROPY) or (buffer.storage != RAW and buffer.kind is not BufferKind.CONSTANT):
        yield f"storage {buffer.storage!r} of a {buffer.kind.name.lower()} buffer"
    elif buffer.storage == ENTROPY:
        bits = buffer.symbol_bits
        if bits not in (*range(1, 9), 16, 32) or (bits > 8 and buffer.nbytes % (bits // 8)):
            yield f"entropy-coded symbols of {bits} bits in {buffer.nbytes} bytes"


def _launch_faults(plan: Plan, launch: Launch, stage: _Stage) -> Iterable[str]:
    bad = [arg for arg in launch.args if not 0 <= arg < len(plan.buffers)]
    if bad:
        yield f"arguments {bad} are not buffers"
        return
    for buffer in (plan.buffers[arg] for arg in launch.args):
        if buffer.kind not in stage.touched:
            yield f"cannot touch {buffer.kind.name.lower()} {buffer.name} at this time"
    if launch.module == COPY:
        args = [plan.buffers[arg] for arg in launch.args]
        if len(args) != 2 or args[0].nbytes != args[1].nbytes:
            yield "a copy takes two buffers of one size"
        elif args[1].kind not in stage.written:
            yield f"a copy cannot write {args[1].kind.name.lower()} {args[1].name}"
    elif not 0 <= launch.module < len(plan.modules):
        yield f"module {launch.module} does not exist"
    if any(not 0 < size < 1 << 31 for size in (*launch.grid, *launch.block)):
        yield f"grid {launch.grid} or block {launch.block} is not positive"
