"""The lowering, top to bottom: Relax module in, Plan out."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import tvm
from tvm.relax import transform as rx

from tilewright.errors import TilewrightError
from tilewright.lower.arena import Lifetime, plan_arena
from tilewright.lower.extract import Calls, Value, extract_calls, kernels_of
from tilewright.lower.layers import fuse_tir, split_kernels, unify_kernels
from tilewright.plan import COPY, Buffer, BufferKind, Launch, Plan
from tilewright.targets.base import Code, Target

Observer = Callable[[str, Callable[[], str]], None]
"""Called after each phase with its name and a function that renders the state as text, for progress and ``--dump``."""


_ANONYMOUS = re.compile(r"(lv|gv|alloc)\d*")  # names that Relax makes up


def layer_of(variable: str) -> str | None:
    """The ONNX node a binding was made for: the frontend names each variable after its node."""
    return None if _ANONYMOUS.fullmatch(variable) else variable


def _silent(phase: str, text: Callable[[], str]) -> None:
    pass


def lower(mod: Any, target: Target, outputs: Sequence[str], observe: Observer = _silent) -> Plan:
    """Lowers an imported model for one target.

    Args:
        mod: a Relax module whose ``main`` takes the model's inputs, all shapes static.
        target: where it shall run.
        outputs: names of the model's outputs, in order; Relax does not keep them.
        observe: hears of every finished phase.

    Raises:
        UnsupportedError: something in the model has no lowering.
        ToolError: the target's external compiler or linker failed.
    """
    with _stage("prepare"), target.tvm_target:
        mod = _run(mod, rx.FoldConstant(), rx.DecomposeOpsForInference(), rx.CanonicalizeBindings())
        mod = target.prepare(mod)
    observe("prepare", lambda: _script(mod))
    with _stage("fuse"), target.tvm_target:
        mod = _run(mod, rx.LegalizeOps(), rx.AnnotateTIROpPattern(), rx.FoldConstant(), rx.DeadCodeElimination())
        mod = _run(split_kernels(mod, layer_of), rx.FuseOps())
        mod = _run(fuse_tir(mod), rx.RewriteDataflowReshape(), rx.DeadCodeElimination())
        mod, layers = unify_kernels(mod)
    observe("fuse", lambda: _script(mod))
    with _stage("schedule"), target.tvm_target:
        mod = target.schedule(mod)
    observe("schedule", lambda: _script(mod))
    with _stage("codegen"), target.tvm_target:
        calls = extract_calls(mod)
        kernels = kernels_of(mod)
        used = dict.fromkeys(step.kernel for step in calls.steps)
        code = target.codegen({name: kernels[name] for name in used})
    observe("codegen", lambda: _sources(code))
    with _stage("plan"):
        plan = _plan(calls, code, target, layers, outputs)
    observe("plan", plan.text)
    return plan


@contextmanager
def _stage(name: str) -> Iterator[None]:
    """Names the stage in errors that nobody raised on purpose; TVM has many kinds of them."""
    try:
        yield
    except TilewrightError:
        raise
    except Exception as error:
        raise TilewrightError(f"internal error while lowering ({name}): {_last_line(error)}") from error


def _run(mod: Any, *passes: Any) -> Any:
    return tvm.ir.transform.Sequential(passes)(mod)


def _last_line(error: Exception) -> str:
    return next((line.strip() for line in reversed(str(error).splitlines()) if line.strip()), type(error).__name__)


def _script(mod: Any) -> str:
    return str(mod.script(show_meta=False))


def _sources(code: Code) -> str:
    return "\n".join(kernel.source for kernel in code.kernels.values() if kernel.source)


def _plan(
    calls: Calls, code: Code, target: Target, layers: Sequence[tuple[str, ...]], output_names: Sequence[str]
) -> Plan:
    """Places every value, expands steps into launches, and routes outputs."""
    buffers = [_buffer(value) for value in calls.values]
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
            buffers[value] = Buffer(name, BufferKind.OUTPUT, buffer.dtype, shape)
            outputs.append(value)
        else:  # an input, a constant or a second name for an output: copied
            buffers.append(Buffer(name, BufferKind.OUTPUT, buffer.dtype, shape))
            outputs.append(len(buffers) - 1)
            if buffer.nbytes:
                touch(Launch("copy", COPY, (value, outputs[-1])))
    placed = [index for index, buffer in enumerate(buffers) if buffer.kind is BufferKind.ARENA and index in first]
    arena = plan_arena([Lifetime(buffers[index].nbytes, first[index], last[index]) for index in placed])
    for index, offset in zip(placed, arena.offsets, strict=True):
        buffer = buffers[index]
        buffers[index] = Buffer(buffer.name, buffer.kind, buffer.dtype, buffer.shape, offset)
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
    return Plan(
        target=plan.target,
        backend=plan.backend,
        buffers=tuple(plan.buffers[index] for index in order),
        inputs=tuple(new[index] for index in plan.inputs),
        outputs=tuple(new[index] for index in plan.outputs),
        launches=tuple(
            Launch(
                item.kernel,
                item.module,
                tuple(new[arg] for arg in item.args),
                item.grid,
                item.block,
                item.layers,
            )
            for item in plan.launches
        ),
        modules=plan.modules,
        arena_bytes=plan.arena_bytes,
        scratch_bytes=plan.scratch_bytes,
    )
