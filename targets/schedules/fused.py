"""Takes a fused PrimFunc apart: the operator that a template computes, and what fusion put after it.

``prepare`` marks the block of an operator that has a template. After fusion the same PrimFunc also holds bias,
activation, residual and so on; these become one expression over the operator's result, which the template evaluates on
accumulators before it stores them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import tvm
import tvm_ffi
from tvm import s_tir, tirx

from tilewright.targets.schedules.ir import substitute

_CHEAP_CALLS = {"tirx.if_then_else", "tirx.likely", "tirx.reinterpret", "tirx.large_uint_imm"}
MARK = "tilewright.template"  # block annotation: JSON of {"template": name, ...parameters}


def mark(template: str, **parameters: Any) -> dict[str, str]:
    """Attributes for ``te.compute`` that make a block the anchor of a template."""
    return {MARK: json.dumps({"template": template, **parameters})}


@dataclass(frozen=True)
class Fused:
    """A PrimFunc of one marked block and an elementwise rest.

    Attributes:
        func: the PrimFunc it came from; its parameters are the parameters of the kernel.
        parameters: of the template.
        operands: buffers that the marked block reads, in order of first use.
        result: buffer that the PrimFunc stores its output to.
        axes, value: the output at ``axes`` is ``value``, which reads ``anchor`` only there.
        anchor: the marked block's own output; ``result`` itself when nothing was fused.
    """

    func: Any
    parameters: dict[str, Any]
    operands: tuple[Any, ...]
    result: Any
    axes: tuple[Any, ...]
    value: Any
    anchor: Any

    @property
    def size(self) -> int:
        """How many operations the epilogue's expression has."""
        count = 0

        def visit(node: Any) -> None:
            nonlocal count
            count += not isinstance(node, tvm.ir.TensorLoad | tirx.Var | tirx.IntImm | tirx.FloatImm)

        tvm_ffi.structural_walk(self.value, visit, order="pre")
        return count

    def store(self, indices: Sequence[Any], accumulator: Any) -> Any:
        """The statement that stores the output at ``indices`` given the operator's value there."""

        def replace(load: Any) -> Any:
            return accumulator if load.source.same_as(self.anchor) else load

        value = tvm_ffi.structural_map(self.value, (tvm.ir.TensorLoad, replace))
        value = substitute(value, list(zip(self.axes, indices, strict=True)))
        return tirx.BufferStore(self.result, value, list(indices))

    def finish(self, body: Any) -> Any:
        """A PrimFunc with the same signature and this body."""
        return tirx.PrimFunc(self.func.params, body, self.func.ret_type, attrs=self.func.attrs)


def take_apart(func: Any, template: str) -> Fused | None:
    """The parts of a PrimFunc whose marked block is of ``template``; None if it is not or has another form."""
    sch = s_tir.Schedule(func)
    found = [block for block in leaf_blocks(sch) if _parameters(sch, block).get("template") == template]
    if len(found) != 1:
        return None
    (block,) = found
    parameters = _parameters(sch, block)
    del parameters["template"]
    stmt = sch.get(block)
    inline_elementwise(sch)
    blocks = leaf_blocks(sch)
    outputs = [param for param in func.params if _is_written(sch, blocks, param)]
    if len(outputs) != 1 or len(blocks) > 2 or not _same_block(sch, blocks[0], stmt):
        return None
    anchor = stmt.writes[0].source
    operands = _operands(stmt)
    axes = tuple(axis.var for axis in stmt.iter_vars[: len(anchor.shape)])
    if len(blocks) == 1:
        value = tirx.BufferLoad(anchor, list(axes))
        return Fused(func, parameters, operands, outputs[0], axes, value, anchor)
    last = sch.get(blocks[1])
    if not is_spatial(sch, blocks[1]) or len(last.iter_vars) != len(anchor.shape):
        return None
    axes = tuple(axis.var for axis in last.iter_vars)
    extents = [int(axis.dom.extent) for axis in last.iter_vars]
    if extents != [int(size) for size in anchor.shape]:
        return None
    if not _reads_in_place(last.body.value, anchor, axes, extents) or not _is_axes(last.body.indices, axes, extents):
        return None
    return Fused(func, parameters, operands, outputs[0], axes, last.body.value, anchor)


def _parameters(sch: Any, block: Any) -> dict[str, Any]:
    text = sch.get(block).annotations.get(MARK)
    return {} if text is None else dict(json.loads(str(text)))


def _same_block(sch: Any, block: Any, stmt: Any) -> bool:
    return bool(sch.get(block).name_hint == stmt.name_hint)


def _is_written(sch: Any, blocks: list[Any], param: Any) -> bool:
    return any(region.source.same_as(param) for block in blocks for region in sch.get(block).writes)


def _operands(stmt: Any) -> tuple[Any, ...]:
    found: list[Any] = []

    def visit(node: Any) -> None:
        if isinstance(node, tvm.ir.TensorLoad) and not any(node.source.same_as(buffer) for buffer in found):
            found.append(node.source)

    tvm_ffi.structural_walk(stmt.body.value, visit, order="pre")
    written = stmt.writes[0].source
    return tuple(buffer for buffer in found if not buffer.same_as(written))


def _is_axes(indices: Sequence[Any], axes: Sequence[Any], extents: Sequence[int]) -> bool:
    if len(indices) != len(axes):
        return False
    return all(
        index.same_as(axis) or (extent == 1 and isinstance(index, tirx.IntImm) and int(index) == 0)
        for index, axis, extent in zip(indices, axes, extents, strict=True)
    )


def _reads_in_place(value: Any, anchor: Any, axes: Sequence[Any], extents: Sequence[int]) -> bool:
    good = True

    def visit(node: Any) -> None:
        nonlocal good
        if isinstance(node, tvm.ir.TensorLoad) and node.source.same_as(anchor):
            good = good and _is_axes(node.indices, axes, extents)

    tvm_ffi.structural_walk(value, visit, order="pre")
    return good


# -- blocks of a schedule


def leaf_blocks(sch: Any) -> list[Any]:
    """The blocks of a schedule that hold no other block, in order."""
    return [block for block in sch.get_child_blocks(sch.get_sblock("root")) if not sch.get_child_blocks(block)]


def is_spatial(sch: Any, block: Any) -> bool:
    """Whether a block only has independent iterations and one plain store."""
    stmt = sch.get(block)
    return (
        all(int(axis.iter_type) == tirx.IterVar.DataPar for axis in stmt.iter_vars)
        and stmt.init is None
        and isinstance(stmt.body, tirx.BufferStore)
    )


def is_expensive(expr: Any) -> bool:
    """Whether an expression calls a function (exp, erf, ...), so that computing it twice is a loss."""
    found = False

    def visit(node: Any) -> None:
        nonlocal found
        if isinstance(node, tvm.ir.Call) and getattr(node.op, "name", "") not in _CHEAP_CALLS:
            found = True

    tvm_ffi.structural_walk(expr, visit, order="pre")
    return found


def inline_elementwise(sch: Any) -> None:
    """Inlines spatial blocks into spatial readers."""
    for block in leaf_blocks(sch)[:-1]:
        if not is_spatial(sch, block):
            continue
        consumers = sch.get_consumers(block)
        if not consumers or not all(is_spatial(sch, consumer) for consumer in consumers):
            continue
        if len(consumers) > 1 and is_expensive(sch.get(block).body.value):
            continue
        try:
            sch.compute_inline(block)
        except s_tir.ScheduleError:
            continue
