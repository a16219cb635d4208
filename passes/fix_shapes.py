"""Fixes the shapes of graph inputs: everything downstream is compiled for one static shape."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import onnx_ir as ir

from tilewright.errors import UsageError


class FixShapes(ir.passes.InPlacePass):
    """Sets the input shapes named in ``shapes`` and forgets stale shapes inside the graph.

    Rules:
        1. A shape may only fill symbolic dimensions or repeat fixed ones, unless the model leaves the rank open.
        2. A symbolic name that is fixed in one input is fixed in all.
        3. A dimension that is still open afterwards is an error; all of them are listed.
    """

    def __init__(self, shapes: Mapping[str, Sequence[int]]) -> None:
        super().__init__()
        self.shapes = shapes

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        inputs = {value.name or "": value for value in model.graph.inputs}
        for value in inputs.values():
            _open_unknown(value)
        complaints = [
            f"no input is called '{name}'; the inputs are {', '.join(map(_show, inputs.values())) or '(none)'}"
            for name in self.shapes
            if name not in inputs
        ]
        symbols: dict[str, int] = {}
        for name, value in inputs.items():
            if name in self.shapes:
                complaints += _fix(value, tuple(self.shapes[name]), symbols)
        for value in inputs.values():
            _fill(value, symbols)
        if not complaints:
            complaints = [complaint for value in inputs.values() for complaint in _open_dims(value)]
        if complaints:
            raise UsageError("\n".join(["input shapes do not fit the model", *(f"  - {c}" for c in complaints)]))
        return ir.passes.PassResult(model, _forget_open(model) or bool(self.shapes))


def _open_unknown(value: ir.Value) -> None:
    """Exporters also write an open dimension as -1 or as '?', which is no name that two dimensions could share."""
    if value.shape is not None:
        dims = [None if dim == -1 or (not isinstance(dim, int) and dim.value == "?") else dim for dim in value.shape]
        value.shape = ir.Shape(dims)


def _fix(value: ir.Value, shape: tuple[int, ...], symbols: dict[str, int]) -> list[str]:
    old = value.shape
    if any(dim < 0 for dim in shape):
        return [f"shape {_text(shape)} given for {_show(value)} has a negative dimension"]
    if old is not None and len(old) != len(shape):
        return [f"shape {_text(shape)} given for {_show(value)} has rank {len(shape)}, the input has {len(old)}"]
    complaints = []
    for axis, (was, now) in enumerate(zip(old or shape, shape, strict=True)):
        if isinstance(was, int) and was != now:
            complaints.append(f"dimension {axis} of {_show(value)} is fixed at {was}; {now} was given")
        elif isinstance(was, ir.SymbolicDim) and was.value is not None:
            known = symbols.setdefault(was.value, now)
            if known != now:
                complaints.append(f"dimension {axis} of {_show(value)} is given as {now}, but as {known} elsewhere")
    value.shape = ir.Shape(shape)
    return complaints


def _fill(value: ir.Value, symbols: Mapping[str, int]) -> None:
    if value.shape is not None and not value.shape.is_static():
        dims = [dim if isinstance(dim, int) else symbols.get(dim.value or "", dim) for dim in value.shape]
        value.shape = ir.Shape(dims)


def _open_dims(value: ir.Value) -> list[str]:
    if isinstance(value.type, ir.SequenceType | ir.OptionalType) or value.dtype is None:
        return []  # refused with its operator's name later
    if value.shape is None:
        return [f"{_show(value)} has no shape; give one with --shape {value.name}=..."]
    if value.shape.is_static():
        return []
    names = ", ".join(f"'{dim.value}'" if dim.value else "?" for dim in value.shape if not isinstance(dim, int))
    example = "x".join(str(dim) if isinstance(dim, int) else "1" for dim in value.shape)
    return [f"{_show(value)} has open dimensions {names}; fix them, for example --shape {value.name}={example}"]


def _forget_open(model: ir.Model) -> bool:
    """Drops inner and output shapes that are not static, so that inference states them anew."""
    changed = False
    for graph in model.graphs():
        for node in graph:
            for value in node.outputs:
                if value.shape is not None and not all(isinstance(dim, int) and dim >= 0 for dim in value.shape):
                    # An output of a legal model has a shape, so its rank is kept.
                    value.shape = ir.Shape([None] * len(value.shape)) if value.is_graph_output() else None
                    changed = True
    return changed


def _show(value: ir.Value) -> str:
    dims = "?" if value.shape is None else _text(dim if isinstance(dim, int) else dim.value for dim in value.shape)
    return f"input '{value.name}' ({dims})"


def _text(dims: object) -> str:
    return "x".join("?" if dim is None else str(dim) for dim in dims) or "scalar"  # type: ignore[attr-defined]
