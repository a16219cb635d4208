"""The weights that compression works on: constants of convolutions and matrix products, seen alike.

A weight is an array [taps, rows, columns]: rows are output channels, columns input channels; a convolution has a tap
for each kernel position, and a matrix product that follows a flatten one for each position flattened away. The matrix
of a weight is [rows, taps x columns], tap after tap: what formats store and kernels read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from tilewright.passes.coupling import Space

Array = npt.NDArray[Any]  # float32


@dataclass(frozen=True)
class Weight:
    """One weight.

    Attributes:
        layer: name of its node.
        value: its initializer.
        rows_axis, columns_axis: axes of output and input channels in the initializer.
        repeat: elements of the columns' axis for each input channel (flattened positions).
    """

    layer: str
    value: ir.Value
    rows_axis: int
    columns_axis: int
    repeat: int = 1

    @property
    def taps(self) -> Array:
        """Float32 [taps, rows, columns]."""
        array = self._array()
        if array.ndim == 2:
            matrix = array if self.rows_axis == 0 else array.T
            return matrix.reshape(len(matrix), -1, self.repeat).transpose(2, 0, 1)
        return array.reshape(*array.shape[:2], -1).transpose(2, 0, 1)

    @property
    def matrix(self) -> Array:
        """Float32 [rows, taps x columns]."""
        taps = self.taps
        return np.ascontiguousarray(taps.transpose(1, 0, 2)).reshape(taps.shape[1], -1)

    def store(self, matrix: Array) -> None:
        """Replaces the weight; ``matrix`` is of the shape of ``self.matrix``."""
        new: Array
        old = self._array()
        taps, rows, columns = self.taps.shape
        by_tap = matrix.reshape(rows, taps, columns)
        if old.ndim == 2:
            flat: Array = by_tap.transpose(0, 2, 1).reshape(rows, -1)
            new = flat if self.rows_axis == 0 else flat.T
        else:
            new = by_tap.transpose(0, 2, 1).reshape(old.shape)
        self.value.const_value = ir.tensor(np.ascontiguousarray(new, old.dtype), name=self.value.name)

    def _array(self) -> Array:
        assert self.value.const_value is not None
        return self.value.const_value.numpy()


def weights_of(graph: ir.Graph, spaces: Mapping[ir.Value, list[Space]] | None = None) -> Iterator[Weight]:
    """The float32 weights of dense convolutions and matrix products that have one use, in graph order.

    Args:
        spaces: coupling of each constant (``spaces_by_value``); tells which products follow a flatten.
    """
    for node in graph:
        found = _axes(node)
        if found is None or node.inputs[1] is None or node.domain != "":
            continue
        value, (rows, columns) = node.inputs[1], found
        constant = value.const_value
        if constant is None or constant.dtype != ir.DataType.FLOAT or len(value.uses()) != 1:
            continue
        repeats = {
            member.repeat
            for space in (spaces or {}).get(value, ())
            for member in space.members
            if member.value is value and member.axis == columns
        }
        yield Weight(node.name or "", value, rows, columns, repeats.pop() if len(repeats) == 1 else 1)


def spaces_by_value(spaces: list[Space]) -> dict[ir.Value, list[Space]]:
    """The spaces that run along some axis of each constant."""
    found: dict[ir.Value, list[Space]] = {}
    for space in spaces:
        for member in space.members:
            if space not in found.setdefault(member.value, []):
                found[member.value].append(space)
    return found


def _axes(node: ir.Node) -> tuple[int, int] | None:
    """Axes of output and input channels in the second input, or None if the node has no such weight."""
    value = node.inputs[1] if len(node.inputs) > 1 else None
    if value is None or value.const_value is None:
        return None
    rank = len(value.const_value.shape)
    if node.op_type == "Conv" and node.attributes.get_int("group", 1) == 1:
        return 0, 1
    if node.op_type == "Gemm" and rank == 2:
        return (0, 1) if node.attributes.get_int("transB", 0) else (1, 0)
    if node.op_type == "MatMul" and rank == 2:
        return 1, 0
    return None
