"""Evaluates element decoders (see formats/element.py) into ONNX operators: the body of an unpacking function.

Extents may be unknown: scalars that the body reads from its node's attributes, so that one function serves all weights
of a format.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from tilewright.formats.element import Element, narrowed

_ROW, _COLUMN = frozenset({"row"}), frozenset({"column"})
_BOTH = _ROW | _COLUMN


class OnnxOps:
    """Collects nodes, in an order in which they can run.

    Attributes:
        nodes: of the standard operator set; versions 13 and later have them all.
    """

    def __init__(self) -> None:
        self.nodes: list[ir.Node] = []
        self._constants: dict[Any, ir.Value] = {}

    def op(self, kind: str, inputs: Sequence[ir.Value], attributes: Sequence[ir.Attr] = (), **more: Any) -> ir.Value:
        """Appends a node with one output."""
        node = ir.Node("", kind, inputs, [*attributes, *ir.convenience.convert_attributes(more)])
        self.nodes.append(node)
        node.outputs[0].name = f"v{len(self.nodes)}"
        return node.outputs[0]

    def constant(self, values: npt.ArrayLike, dtype: str) -> ir.Value:
        """A constant tensor; equal ones are one."""
        array = np.asarray(values, dtype)
        key = array.tobytes(), array.shape, dtype
        if key not in self._constants:
            self._constants[key] = self.op("Constant", [], value=ir.tensor(array))
        return self._constants[key]

    def integers(self, attribute: str) -> ir.Value:
        """The integers of an attribute of the function, int64 [n]."""
        return self.op("Constant", [], [ir.RefAttr("value_ints", attribute, ir.AttributeType.INTS)])

    def extents(self, attribute: str, count: int) -> tuple[Any, ...]:
        """The first integers of an attribute, as extents."""
        whole = self.cast(self.integers(attribute), "int32")
        places = [self.op("Gather", [whole, self.constant(place, "int64")], axis=0) for place in range(count)]
        return tuple(_Expr(self, place, "int32") for place in places)

    def cast(self, value: ir.Value, dtype: str) -> ir.Value:
        return self.op("Cast", [value], to=ir.DataType.from_numpy(np.dtype(dtype)).value)

    def load(self, value: ir.Value, dtype: ir.DataType) -> _Flat:
        """An array of any shape, for ``loads``."""
        kind = "float32" if dtype.is_floating_point() else "int32"
        return _Flat(self, self._flat(value), kind, widen=dtype.numpy() != np.dtype(kind))

    # The operations of formats.element.Ops

    def table(self, values: npt.ArrayLike) -> Any:
        array = narrowed(values)
        kind = "float32" if array.dtype.kind == "f" else "int32"
        stored = self.constant(array, str(array.dtype))
        return _Flat(self, stored if array.dtype == kind else self.cast(stored, kind), kind, widen=False)

    def where(self, condition: Any, yes: Any, no: Any) -> Any:
        parts = [part for part in (yes, no) if isinstance(part, _Expr)]
        dtype = parts[0].dtype if parts else "float32" if isinstance(yes, float) else "int32"
        sides = [self.expr(part, dtype) for part in (yes, no)]
        value = self.op("Where", [condition.value, *(side.value for side in sides)])
        return _Expr(self, value, dtype, condition.axes.union(*(side.axes for side in sides)))

    def shift_right(self, value: Any, count: Any) -> Any:
        if isinstance(count, int):
            return value // 2**count
        wide = [self.cast(part.value, "uint32") for part in (value, count)]
        shifted = self.op("BitShift", wide, direction="RIGHT")
        return _Expr(self, self.cast(shifted, "int32"), "int32", value.axes | count.axes)

    def share(self, value: Any) -> Any:
        return value

    def compute(self, shape: tuple[Any, Any], element: Element, dtype: str, needed: Element | None = None) -> Any:
        wide = "float32" if dtype == "float32" else "int32"
        at = self._range(shape[0], _ROW), self._range(shape[1], _COLUMN)
        result = self.expr(element(*at) if needed is None else self.where(needed(*at), element(*at), 0), wide)
        value = result.value if result.axes == _BOTH else self.op("Expand", [result.value, self._dims(shape)])
        return Computed(self, value if dtype == wide else self.cast(value, dtype), wide, shape[1], widen=dtype != wide)

    def exclusive_sum(self, values: Any, count: Any) -> Any:
        whole = self.cast(values.value, "int32")
        return _Flat(self, self.op("CumSum", [whole, self.constant(0, "int64")], exclusive=1), "int32", widen=False)

    def positions(self, index: Any, shape: tuple[Any, Any], columns: Any) -> Any:
        nothing = self.op("Expand", [self.constant([[0]], "int32"), self._dims((shape[0], columns))])
        where = self.op("Reshape", [self.cast(index.value, "int64"), self._dims(shape)])
        places = self.op("Expand", [(self._range(shape[1], _COLUMN) + 1).value, self._dims(shape)])
        return Computed(self, self.op("ScatterElements", [nothing, where, places], axis=1), "int32", columns)

    def expr(self, value: Any, dtype: str) -> _Expr:
        """A number as an expression; an expression as it is."""
        return value if isinstance(value, _Expr) else _Expr(self, self.constant(value, dtype), dtype)

    def _flat(self, value: ir.Value) -> ir.Value:
        return self.op("Reshape", [value, self.constant([-1], "int64")])

    def _dims(self, shape: Sequence[Any]) -> ir.Value:
        """Extents as int64 [n]."""
        first = self.constant([0], "int64")
        parts = [self.op("Unsqueeze", [self.expr(extent, "int32").value, first]) for extent in shape]
        return self.cast(self.op("Concat", parts, axis=0), "int64")

    def _range(self, count: Any, axes: frozenset[str]) -> _Expr:
        ends = [self.expr(end, "int32").value for end in (0, count, 1)]
        other = self.constant([1 if axes == _ROW else 0], "int64")
        return _Expr(self, self.op("Unsqueeze", [self.op("Range", ends), other]), "int32", axes)


class _Flat:
    """A one-dimensional tensor that is indexed by an integer tensor of any shape."""

    def __init__(self, ops: OnnxOps, value: ir.Value, dtype: str, widen: bool) -> None:
        self.ops, self.value, self.dtype, self.widen = ops, value, dtype, widen

    def __getitem__(self, index: Any) -> _Expr:
        at = self.ops.expr(index, "int32")
        value = self.ops.op("Gather", [self.value, at.value], axis=0)
        return _Expr(self.ops, self.ops.cast(value, self.dtype) if self.widen else value, self.dtype, at.axes)


class Computed:
    """A matrix, indexed by row and column.

    Attributes:
        matrix: the value.
    """

    def __init__(self, ops: OnnxOps, matrix: ir.Value, dtype: str, columns: Any, widen: bool = False) -> None:
        self.matrix, self._columns = matrix, columns
        self._ops, self._dtype, self._widen = ops, dtype, widen
        self._elements: _Flat | None = None

    def __getitem__(self, index: Any) -> Any:
        if self._elements is None:
            self._elements = _Flat(self._ops, self._ops._flat(self.matrix), self._dtype, self._widen)
        row, column = index
        return self._elements[row * self._columns + column]


class _Expr:
    """A tensor of int32, float32 or bool.

    Attributes:
        axes: along which of "row" and "column" of the matrix under computation it extends.
    """

    def __init__(self, ops: OnnxOps, value: ir.Value, dtype: str, axes: frozenset[str] = frozenset()) -> None:
        self.ops, self.value, self.dtype, self.axes = ops, value, dtype, axes

    def astype(self, dtype: str) -> _Expr:
        return _Expr(self.ops, self.ops.cast(self.value, dtype), dtype, self.axes)

    def _with(self, kind: str, left: Any, right: Any, dtype: str = "") -> _Expr:
        sides = [self.ops.expr(side, self.dtype) for side in (left, right)]
        value = self.ops.op(kind, [side.value for side in sides])
        return _Expr(self.ops, value, dtype or self.dtype, sides[0].axes | sides[1].axes)

    def __add__(self, other: Any) -> _Expr:
        return self._with("Add", self, other)

    def __radd__(self, other: Any) -> _Expr:
        return self._with("Add", other, self)

    def __sub__(self, other: Any) -> _Expr:
        return self._with("Sub", self, other)

    def __rsub__(self, other: Any) -> _Expr:
        return self._with("Sub", other, self)

    def __mul__(self, other: Any) -> _Expr:
        return self._with("Mul", self, other)

    def __rmul__(self, other: Any) -> _Expr:
        return self._with("Mul", other, self)

    def __floordiv__(self, other: Any) -> _Expr:
        return self._with("Div", self, other)

    def __mod__(self, other: Any) -> _Expr:
        return self._with("Mod", self, other)

    def __lt__(self, other: Any) -> _Expr:
        return self._with("Less", self, other, "bool")

    def __gt__(self, other: Any) -> _Expr:
        return self._with("Greater", self, other, "bool")
