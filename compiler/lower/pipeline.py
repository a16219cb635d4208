"""The lowering, top to bottom: Relax module in, Plan out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import tvm
from tvm.relax import transform as rx

from tilewright.errors import TilewrightError
from tilewright.lower.assemble import Layers, assemble
from tilewright.lower.extract import extract_calls, kernels_of
from tilewright.lower.layers import fuse_tir, split_kernels, unify_kernels
from tilewright.lower.operations import count_operations
from tilewright.lower.prologue import split
from tilewright.lower.unpack import expand_unpacking
from tilewright.plan import PackedParameter, Plan
from tilewright.targets.base import Code, Target

Observer = Callable[[str, Callable[[], str]], None]
"""Called after each phase with its name and a function that renders the state as text, for progress and ``--dump``."""

_AT_LOAD = "load_"  # begins the names of the prologue's kernels


def _silent(phase: str, text: Callable[[], str]) -> None:
    pass


def lower(
    mod: Any,
    target: Target,
    inputs: Sequence[str],
    outputs: Sequence[str],
    observe: Observer = _silent,
    packed: Sequence[PackedParameter] = (),
) -> Plan:
    """Lowers an imported model for one target.

    Args:
        mod: a Relax module whose ``main`` takes the model's inputs and then the packed parameters, all shapes static;
            where there are packed parameters, its attribute ``num_input`` is the number of inputs.
        target: where it shall run.
        inputs, outputs: names of the model's inputs and outputs, in order; Relax has names of its own.
        observe: hears of every finished phase.
        packed: the packed parameters in the order of ``main``. What depends on them and on constants alone is computed
            once, when the artifact is loaded.

    Raises:
        UnsupportedError: something in the model has no lowering.
        ToolError: the target's external compiler or linker failed.
    """
    with _stage("prepare"), target.tvm_target:
        mod = _run(mod, rx.FoldConstant(), rx.DecomposeOpsForInference(), rx.CanonicalizeBindings())
        prepared = target.prepare(mod, packed)
        parts = split(_run(expand_unpacking(prepared.mod), rx.CanonicalizeBindings()))
    packed = prepared.packed
    mod, prologue = parts.inference, parts.prologue
    observe("prepare", lambda: _script(mod, prologue))
    layers = Layers()
    with _stage("fuse"), target.tvm_target:
        mod, layers.inference = unify_kernels(_fuse(mod))
        if prologue is not None:
            prologue, layers.prologue = unify_kernels(_fuse(prologue), _AT_LOAD)
    operations = {**count_operations(mod), **({} if prologue is None else count_operations(prologue))}
    observe("fuse", lambda: _script(mod, prologue))
    with _stage("schedule"), target.tvm_target:
        mod = target.schedule(mod)
        prologue = None if prologue is None else target.schedule(prologue)
    observe("schedule", lambda: _script(mod, prologue))
    with _stage("codegen"), target.tvm_target:
        calls = extract_calls(mod, prologue, packed)
        at_load = {} if prologue is None else kernels_of(prologue)
        kernels = {**at_load, **kernels_of(mod)}
        assert len(kernels) == len(at_load) + len(kernels_of(mod)), "a kernel's name is used twice"
        used = dict.fromkeys(step.kernel for step in (*calls.steps, *calls.prologue))
        code = target.codegen({name: kernels[name] for name in used})
    observe("codegen", lambda: _sources(code))
    with _stage("plan"):
        plan = assemble(calls, code, target, layers, inputs, outputs, operations)
        plan = target.finish(replace(plan, unpacked=dict(prepared.unpacked)))
    observe("plan", plan.text)
    return plan


def _fuse(mod: Any) -> Any:
    mod = _run(mod, rx.LegalizeOps(), rx.AnnotateTIROpPattern(), rx.FoldConstant(), rx.DeadCodeElimination())
    mod = _run(split_kernels(mod), rx.FuseOps())
    return _run(fuse_tir(mod), rx.RewriteDataflowReshape(), rx.DeadCodeElimination())


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


def _script(mod: Any, prologue: Any) -> str:
    text = str(mod.script(show_meta=False))
    return text if prologue is None else f"{text}\n# At load, once:\n{prologue.script(show_meta=False)}"


def _sources(code: Code) -> str:
    return "\n".join(kernel.source for kernel in code.kernels.values() if kernel.source)
