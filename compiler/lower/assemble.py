"""Puts a Plan together from the calls of a network and the code of its kernels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from tilewright.lower.arena import Lifetime, plan_arena
from tilewright.lower.extract import Calls, Value
from tilewright.plan import COPY, Buffer, BufferKind, Launch, Plan
from tilewright.targets.base import Code, Target


def assemble(
    calls: Calls,
    code: Code,
    target: Target,
    layers: Sequence[tuple[str, ...]],
    input_names: Sequence[str],
    output_names: Sequence[str],
) -> Plan:
    """Places every value, expands steps into launches, and routes outputs.

    Args:
        layers: for each step of ``calls``, the ONNX nodes that it computes.
        input_names, output_names: the model's names, in order.
    """
    buffers = [_buffer(value) for value in calls.values]
    for name, index in zip(input_names, calls.inputs, strict=True):
        buffers[index] = replace(buffers[index], name=name)
    launches: list[Launch] = []
    first: dict[int, int] = {}
    last: dict[int, int] = {}

    def touch(launch: Launch) -> None:
        launches.append(launch)
        for arg in launch.args:
            first.setdefault(arg, len(launches) - 1)
            last[arg] = len(launches) - 1

    for index, step in enumerate(calls.steps):
        if all(math.prod(calls.values[value].shape) == 0 for value in step.writes):
            continue  # nothing to compute, and an empty grid cannot be launched
        kernel = code.kernels[step.kernel]
        workspaces = []
        for nbytes in kernel.workspaces:
            buffers.append(Buffer(f"{step.kernel}.workspace", BufferKind.ARENA, "uint8", (nbytes,)))
            workspaces.append(len(buffers) - 1)
        operands = (*step.reads, *step.writes)
        for call in kernel.calls:
            args = tuple(operands[arg] if arg >= 0 else workspaces[-1 - arg] for arg in call.args)
            touch(Launch(call.entry, call.module, args, call.grid, call.block, layers[index]))
    outputs = []
    for name, (value, shape) in zip(output_names, calls.outputs, strict=True):
        buffer = buffers[value]
        if buffer.kind is BufferKind.ARENA:
            buffers[value] = replace(buffer, name=name, kind=BufferKind.OUTPUT, shape=shape)
            outputs.append(value)
        else:  # an input, a constant or a second name for an output: copied
            buffers.append(Buffer(name, BufferKind.OUTPUT, buffer.dtype, shape))
            outputs.append(len(buffers) - 1)
            if buffer.nbytes:
                touch(Launch("copy", COPY, (value, outputs[-1])))
    placed = [index for index, buffer in enumerate(buffers) if buffer.kind is BufferKind.ARENA and index in first]
    arena = plan_arena([Lifetime(buffers[index].nbytes, first[index], last[index]) for index in placed])
    for index, offset in zip(placed, arena.offsets, strict=True):
        buffers[index] = replace(buffers[index], offset=offset)
    return _compact(
        Plan(
            target=target.device.name,
            backend=target.backend,
            buffers=tuple(buffers),
            inputs=calls.inputs,
            outputs=tuple(outputs),
            launches=tuple(launches),
            modules=code.modules,
            arena_bytes=arena.nbytes,
            scratch_bytes=code.scratch_bytes,
        )
    )


def _buffer(value: Value) -> Buffer:
    if value.is_input:
        kind = BufferKind.INPUT
    elif value.data is not None:
        kind = BufferKind.CONSTANT
    else:
        kind = BufferKind.ARENA
    return Buffer(value.name, kind, value.dtype, value.shape, data=value.data)


def _compact(plan: Plan) -> Plan:
    """Drops buffers that no launch uses (empty tensors, constants that were folded away), keeping the order."""
    kept = {*plan.inputs, *plan.outputs, *(arg for launch in plan.launches for arg in launch.args)}
    order = [index for index in range(len(plan.buffers)) if index in kept]
    new = {old: index for index, old in enumerate(order)}
    return replace(
        plan,
        buffers=tuple(plan.buffers[index] for index in order),
        inputs=tuple(new[index] for index in plan.inputs),
        outputs=tuple(new[index] for index in plan.outputs),
        launches=tuple(replace(launch, args=tuple(new[arg] for arg in launch.args)) for launch in plan.launches),
    )
