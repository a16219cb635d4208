"""Removes nodes, initializers and functions that no output depends on."""

from __future__ import annotations

import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedFunctionsPass, RemoveUnusedNodesPass


def _functions() -> ir.passes.PassBase:
    return RemoveUnusedFunctionsPass()  # type: ignore[no-untyped-call]


class RemoveUnused(ir.passes.InPlacePass):
    """Graph inputs and outputs stay."""

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        steps = ir.passes.Sequential(RemoveUnusedNodesPass(), _functions())
        return ir.passes.PassResult(model, steps(model).modified)
