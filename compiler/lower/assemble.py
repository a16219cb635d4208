"""Puts a Plan together from the calls of a network and the code of its kernels."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from tilewright.lower.arena import Lifetime, plan_arena
from tilewright.lower.constants import compact
from tilewright.lower.extract import Calls, Step, Value
from tilewright.plan import COPY, Buffer, BufferKind, Launch, Plan
from tilewright.targets.base import Code, Target


@dataclass
class Layers:
    """For each step of a network's ``Calls``, the ONNX nodes that it computes."""

    inference: list[tuple[str, ...]] = field(default_factory=list)
    prologue: list[tuple[str, ...]] = field(default_factory=list)


def assemble(
    calls: Calls,
    code: Code,
    target: Target,
    layers: Layers,
    input_names: Sequence[str],
    output_names: Sequence[str],
    operations: Mapping[str, int],
) -> Plan:
    """Places every value, expands steps into launches, and routes outputs.

    Args:
        input_names, output_names: the model's names, in order.
        operations: of one run of a kernel, by kernel; its last launch takes them, for which others prepare operands.
    """
    buffers = [_buffer(value) for value in calls.values]
    kept = {value for step in calls.steps for value in step.reads} | {value for value, _ in calls.outputs}
    for index in (value for step in calls.prologue for value in step.writes):
        buffers[index] = replace(buffers[index], kind=BufferKind.STATIC if index in kept else BufferKind.TEMPORARY)
    for name, index in zip(input_names, calls.inputs, strict=True):
        buffers[index] = replace(buffers[index], name=name)
    prologue = _launches(calls.prologue, layers.prologue, code, operations, buffers, BufferKind.TEMPORARY)
    launches = _launches(calls.steps, layers.inference, code, operations, buffers, BufferKind.ARENA)
    outputs = []
    for name, (value, shape) in zip(output_names, calls.outputs, strict=True):
        buffer = buffers[value]
        if buffer.kind is BufferKind.ARENA:
            buffers[value] = replace(buffer, name=name, kind=BufferKind.OUTPUT, shape=shape)
            outputs.append(value)
        else:  # an input, something known at load or a second name for an output: copied
            buffers.append(Buffer(name, BufferKind.OUTPUT, buffer.dtype, shape))
            outputs.append(len(buffers) - 1)
            if buffer.nbytes:
                launches.append(Launch("copy", COPY, (value, outputs[-1])))
    arena_bytes = _place(buffers, BufferKind.ARENA, launches)
    static_bytes = _place(buffers, BufferKind.STATIC, prologue, for_good=True)
    temporary_bytes = _place(buffers, BufferKind.TEMPORARY, prologue)
    return _compact(
        Plan(
            target=target.device.name,
            backend=target.backend,
            buffers=tuple(buffers),
            inputs=calls.inputs,
            outputs=tuple(outputs),
            launches=tuple(launches),
            modules=code.modules,
            arena_bytes=arena_bytes,
            scratch_bytes=code.scratch_bytes,
            prologue=tuple(prologue),
            static_bytes=static_bytes,
            temporary_bytes=temporary_bytes,
        )
    )


def _buffer(value: Value) -> Buffer:
    if value.is_input:
        kind = BufferKind.INPUT
    elif value.data is not None:
        kind = BufferKind.CONSTANT
    else:
        kind = BufferKind.ARENA
    buffer = Buffer(
        value.name, kind, value.dtype, value.shape,
        data=value.data, storage=value.storage, symbol_bits=value.symbol_bits,
    )  # fmt: skip
    return compact(buffer)


def _launches(
    steps: Sequence[Step],
    layers: Sequence[tuple[str, ...]],
    code: Code,
    operations: Mapping[str, int],
    buffers: list[Buffer],
    workspace: BufferKind,
) -> list[Launch]:
    """The launches of some steps, in order; workspaces between them are added to ``buffers``."""
    launches: list[Launch] = []
    for step, names in zip(steps, layers, strict=True):
        if all(math.prod(buffers[value].shape) == 0 for value in step.writes):
            continue  # nothing to compute, and an empty grid cannot be launched
        kernel = code.kernels[step.kernel]
        workspaces = []
        for nbytes in kernel.workspaces:
            buffers.append(Buffer(f"{step.kernel}.workspace", workspace, "uint8", (nbytes,)))
            workspaces.append(len(buffers) - 1)
        operands = (*step.reads, *step.writes)
        for place, call in enumerate(kernel.calls, 1):
            count = operations.get(step.kernel, 0) if place == len(kernel.calls) else 0
            args = tuple(operands[arg] if arg >= 0 else workspaces[-1 - arg] for arg in call.args)
            launches.append(Launch(call.entry, call.module, args, call.grid, call.block, names, count))
    return launches


def _place(buffers: list[Buffer], kind: BufferKind, launches: Sequence[Launch], for_good: bool = False) -> int:
    """Gives the buffers of a kind their offsets in its arena and returns the arena's size.

    Args:
        for_good: they live from the first launch on, for ever.
    """
    first: dict[int, int] = {}
    last: dict[int, int] = {}
    for number, launch in enumerate(launches):
        for arg in launch.args:
            first.setdefault(arg, 0 if for_good else number)
            last[arg] = len(launches) if for_good else number
    placed = [index for index, buffer in enumerate(buffers) if buffer.kind is kind and index in first]
    arena = plan_arena([Lifetime(buffers[index].nbytes, first[index], last[index]) for index in placed])
    for index, offset in zip(placed, arena.offsets, strict=True):
        buffers[index] = replace(buffers[index], offset=offset)
    return arena.nbytes


def _compact(plan: Plan) -> Plan:
    """Drops buffers that no launch uses (empty tensors, constants that were folded away), keeping the order."""
    launched = {arg for launch in (*plan.prologue, *plan.launches) for arg in launch.args}
    kept = {*plan.inputs, *plan.outputs, *launched}
    order = [index for index in range(len(plan.buffers)) if index in kept]
    new = {old: index for index, old in enumerate(order)}

    def renumbered(launches: Sequence[Launch]) -> tuple[Launch, ...]:
        return tuple(replace(launch, args=tuple(new[arg] for arg in launch.args)) for launch in launches)

    return replace(
        plan,
        buffers=tuple(plan.buffers[index] for index in order),
        inputs=tuple(new[index] for index in plan.inputs),
        outputs=tuple(new[index] for index in plan.outputs),
        launches=renumbered(plan.launches),
        prologue=renumbered(plan.prologue),
    )
