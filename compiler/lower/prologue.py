"""Splits a network into what runs once when it is loaded and what runs for every inference.

Done before legalisation and fusion, so that nothing known at load can end up in a kernel of the inference. (Relax's
LiftTransformParams splits too, but also moves computations on plain constants, which FoldConstant does away with here.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import tvm
from tvm import relax

from tilewright.targets.static import StaticValues, packed_parameters


@dataclass(frozen=True)
class Parts:
    """Two modules, each with a function ``main``.

    Attributes:
        inference: takes the model's inputs, then the results of ``prologue``.
        prologue: takes the packed parameters and returns a tuple; None for a model without packed parameters.
    """

    inference: Any
    prologue: Any | None = None


def split(mod: Any) -> Parts:
    """Splits ``main`` by its attribute ``num_input``; a module without packed parameters comes back as it is."""
    main = mod["main"]
    packed = packed_parameters(main)
    if not packed:
        return Parts(mod)
    values = StaticValues(main)
    (block,) = main.body.blocks
    result = block.bindings[-1]  # stays, even where all outputs are static
    early = [binding for binding in block.bindings if binding.var in values.known and not binding.same_as(result)]
    late = [binding for binding in block.bindings if binding.var not in values.variables or binding.same_as(result)]
    used = dict.fromkeys(var for binding in late for var in relax.analysis.free_vars(binding.value))
    border = [var for var in used if var in values.variables]
    received = [relax.Var(f"static{index}", var.ty) for index, var in enumerate(border)]
    aliases = [relax.VarBinding(var, param) for var, param in zip(border, received, strict=True)]
    inputs = main.params[: len(main.params) - len(packed)]
    inference = _function([*inputs, *received], [*aliases, *late], main.body.body, main.ret_ty)
    handed_over = relax.Var("handed_over", relax.TupleType([var.ty for var in border]))
    early.append(relax.VarBinding(handed_over, relax.Tuple(border)))
    prologue = _function(packed, early, handed_over, handed_over.ty)
    return Parts(_module(mod, inference), _module(mod, prologue))


def _function(params: Sequence[Any], bindings: Sequence[Any], result: Any, result_type: Any) -> Any:
    body = relax.SeqExpr([relax.DataflowBlock(list(bindings))], result)
    return relax.Function(list(params), body, result_type).with_attr("global_symbol", "main")


def _module(mod: Any, main: Any) -> Any:
    functions = {var: main if var.name_hint == "main" else function for var, function in mod.functions.items()}
    parts = tvm.IRModule(functions, attrs=mod.attrs)
    passes = [relax.transform.CanonicalizeBindings(), relax.transform.DeadCodeElimination()]
    return tvm.ir.transform.Sequential(passes)(parts)
