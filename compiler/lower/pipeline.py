"""The lowering, top to bottom: Relax module in, Plan out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import tvm
from tvm.relax import transform as rx

from tilewright.errors import TilewrightError
from tilewright.lower.assemble import assemble
from tilewright.lower.extract import extract_calls, kernels_of
from tilewright.lower.layers import fuse_tir, split_kernels, unify_kernels
from tilewright.plan import Plan
from tilewright.targets.base import Code, Target

Observer = Callable[[str, Callable[[], str]], None]
"""Called after each phase with its name and a function that renders the state as text, for progress and ``--dump``."""


def _silent(phase: str, text: Callable[[], str]) -> None:
    pass


def lower(mod: Any, target: Target, inputs: Sequence[str], outputs: Sequence[str], observe: Observer = _silent) -> Plan:
    """Lowers an imported model for one target.

    Args:
        mod: a Relax module whose ``main`` takes the model's inputs, all shapes static.
        target: where it shall run.
        inputs, outputs: names of the model's inputs and outputs, in order; Relax has names of its own.
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
        mod = _run(split_kernels(mod), rx.FuseOps())
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
        plan = assemble(calls, code, target, layers, inputs, outputs)
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
