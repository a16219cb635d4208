"""How much arithmetic a kernel does, counted in its definition before it is scheduled."""

from __future__ import annotations

import math
from typing import Any

import tvm
import tvm_ffi
from tvm import s_tir, tirx

from tilewright.targets.static import OPERATIONS

_COPIES = (tvm.ir.TensorLoad, tirx.IntImm, tirx.FloatImm)


def count_operations(mod: Any) -> dict[str, int]:
    """Operations of every PrimFunc of a module, by name.

    A step of a reduction counts as two, a multiplication and an addition; an element of anything else as one, whatever
    it takes to compute it; moving data counts as none. A template may know better (``OPERATIONS``). Padding that a
    kernel multiplies counts too; what a kernel of compressed weights skips does not, nor does decoding.
    """
    found = {var.name_hint: func for var, func in mod.functions.items() if isinstance(func, tirx.PrimFunc)}
    return {name: _operations(func) for name, func in found.items()}


def _operations(func: Any) -> int:
    total = 0

    def visit(node: Any) -> None:
        nonlocal total
        if isinstance(node, s_tir.SBlock) and node.iter_vars:
            steps = math.prod(int(axis.dom.extent) for axis in node.iter_vars)
            said = node.annotations.get(OPERATIONS)
            total += steps * (2 if node.init is not None else int(_computes(node.body))) if said is None else int(said)

    tvm_ffi.structural_walk(func.body, visit, order="pre")
    return total


def _computes(body: Any) -> bool:
    """Whether a block does more than move elements: selecting what lies inside of a border is moving."""
    value = getattr(body, "value", None)
    if value is None:
        return True
    while getattr(getattr(value, "op", None), "name", "").endswith("if_then_else"):
        value = value.args[1]
    return not isinstance(value, _COPIES)
