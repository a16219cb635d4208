"""Which values of a Relax function are known when a model is loaded: computed from packed weights and constants alone.

Targets lay such a value out like a constant weight, but by operators; lowering moves it into the prologue.
"""

from __future__ import annotations

from typing import Any

from tvm import relax
from tvm.ir import GenericConst

TEMPLATE = "tilewright.kernel"
"""Attribute of a PrimFunc that a template makes as a whole: JSON of {"kernel": which, ...parameters}."""
DYNAMIC_QUANTIZE = "dynamic_quantize"

OPERATIONS = "tilewright.operations"
"""Annotation of a block whose kernel does another number of multiplications and additions than the block says."""

NUM_INPUT = "num_input"
"""Attribute of ``main``: how many parameters, counted from the first, are the model's inputs. All others are packed
arrays of weights. Without it every parameter is an input."""


class StaticValues:
    """The static variables of one function, found in one walk.

    Attributes:
        variables: packed parameters, and what is computed from at least one of them and otherwise from constants.
        known: these, and what is computed from constants alone.
    """

    def __init__(self, function: Any) -> None:
        self.variables: set[Any] = set(packed_parameters(function))
        self.known: set[Any] = set(self.variables)
        if not self.variables:
            return
        for block in function.body.blocks:
            for binding in block.bindings:
                free = relax.analysis.free_vars(binding.value)
                if all(var in self.known for var in free):
                    self.known.add(binding.var)
                    if any(var in self.variables for var in free):
                        self.variables.add(binding.var)

    def holds(self, expr: Any) -> bool:
        """Whether an operand of the function as it was walked is static; constants are not."""
        return expr in self.variables if isinstance(expr, relax.Var) else False

    def fixed(self, expr: Any) -> bool:
        """Whether an operand never changes between runs: a constant or static."""
        return isinstance(expr, GenericConst) or self.holds(expr)


def packed_parameters(function: Any) -> list[Any]:
    """The parameters after the model's inputs."""
    attributes = function.attrs or {}
    return list(function.params[int(attributes[NUM_INPUT]) :]) if NUM_INPUT in attributes else []
