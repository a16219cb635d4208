"""Turns Constant nodes into initializers, and initializers that double as inputs into plain initializers."""

from __future__ import annotations

import onnx_ir as ir
from onnx_ir.passes.common import LiftConstantsToInitializersPass, RemoveInitializersFromInputsPass

IR_VERSION = 10  # the first that allows function overloads; below 4 every initializer must be an input


class LiftConstants(ir.passes.InPlacePass):
    """Initializers are the only constants afterwards, in the main graph and in subgraphs."""

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        model.ir_version = max(model.ir_version, IR_VERSION)
        steps = ir.passes.Sequential(
            RemoveInitializersFromInputsPass(),
            LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0),
        )
        return ir.passes.PassResult(model, steps(model).modified)
