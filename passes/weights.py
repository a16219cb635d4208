"""The weights that compression works on: constants of convolutions, matrix products and table lookups, seen alike.

A weight is an array [taps, rows, columns]: rows are output channels, columns input channels; a convolution has a tap
for each kernel position, and a matrix product that follows a flatten one for each position flattened away. The matrix
of a weight is [rows, taps x columns], tap after tap: what formats store and kernels read. In a table that Gather looks
up (an embedding), rows are its entries.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from tilewright.errors import DataError, Problem
from tilewright.passes.coupling import Space, couple

Array = npt.NDArray[Any]  # float32
Kind = Literal["conv", "depthwise", "grouped", "transposed", "matmul", "table"]


@dataclass(frozen=True)
class Weight:
    """One weight.

    Attributes:
        layer: name of its node, the first if several nodes share it.
        value: its initializer.
        rows_axis, columns_axis: axes of output and input channels in the initializer.
        repeat: elements of the columns' axis for each input channel (flattened positions).
        operator: op_type of the node.
        prunable: whether all rows multiply the same columns, so that pruning and pivoting see one matrix product.
        grouped: a convolution with groups.
    """

    layer: str
    value: ir.Value
    rows_axis: int
    columns_axis: int
    repeat: int = 1
    operator: str = ""
    prunable: bool = True
    grouped: bool = False

    @property
    def kind(self) -> Kind:
        """What recipes call it."""
        if self.operator == "Conv" and not self.grouped:
            return "conv"
        if self.operator == "Conv":
            return "depthwise" if self.extents["C"] == 1 else "grouped"
        named: Mapping[str, Kind] = {"ConvTranspose": "transposed", "Gather": "table"}
        return named.get(self.operator, "matmul")

    @property
    def array(self) -> Array:
        """Float32 of the initializer's shape."""
        assert self.value.const_value is not None
        return self.value.const_value.numpy()

    @property
    def order(self) -> str:
        """How the initializer lies in memory: a permutation of R(ows), C(olumns) and T(aps), outermost first."""
        if len(self.array.shape) == 2:
            return "RCT" if self.rows_axis == 0 else "CTR"
        return "RCT" if self.rows_axis == 0 else "CRT"

    @property
    def extents(self) -> dict[str, int]:
        """The extents of R, C and T."""
        shape = self.array.shape
        rows, columns = shape[self.rows_axis], shape[self.columns_axis] // self.repeat
        return {"R": rows, "C": columns, "T": int(np.prod(shape)) // (rows * columns)}

    @property
    def taps(self) -> Array:
        """Float32 [taps, rows, columns]."""
        extents, order = self.extents, self.order
        split = self.array.reshape([extents[axis] for axis in order])
        return split.transpose([order.index(axis) for axis in "TRC"])

    @property
    def matrix(self) -> Array:
        """Float32 [rows, taps x columns]."""
        taps = self.taps
        return np.ascontiguousarray(taps.transpose(1, 0, 2)).reshape(taps.shape[1], -1)

    def arranged(self, matrix: Array) -> Array:
        """A matrix of the shape of ``self.matrix``, as it would lie in the initializer."""
        old, extents = self.array, self.extents
        split = matrix.reshape([extents[axis] for axis in "RTC"])
        new = split.transpose(["RTC".index(axis) for axis in self.order]).reshape(old.shape)
        return np.ascontiguousarray(new, old.dtype)

    def store(self, matrix: Array) -> None:
        """Replaces the weight; ``matrix`` is of the shape of ``self.matrix``."""
        self.value.const_value = ir.tensor(self.arranged(matrix), name=self.value.name)


def weights_of(graph: ir.Graph, spaces: Mapping[ir.Value, list[Space]] | None = None) -> Iterator[Weight]:
    """The float32 weights of dense convolutions and matrix products that have one use, in graph order.

    Args:
        spaces: coupling of each constant (``spaces_by_value``); tells which products follow a flatten.
    """
    return (weight for weight in all_weights(graph, spaces) if weight.prunable)


def all_weights(graph: ir.Graph, spaces: Mapping[ir.Value, list[Space]] | None = None) -> Iterator[Weight]:
    """Also those of grouped and transposed convolutions, of tables, and shared ones, which formats can store too."""
    seen: set[ir.Value] = set()
    for node in graph:
        found = _axes(node)
        if found is None or (value := node.inputs[found[0]]) is None or value in seen:
            continue
        seen.add(value)
        _, rows, columns, prunable = found
        constant, uses = value.const_value, value.uses()
        if constant is None or constant.dtype != ir.DataType.FLOAT or 0 in constant.shape.numpy():
            continue
        if any(use.idx != found[0] or _axes(use.node) != found for use in uses):
            continue  # used in another way elsewhere, so it has no rows and columns of its own
        repeats = {
            member.repeat
            for space in (spaces or {}).get(value, ())
            for member in space.members
            if member.value is value and member.axis == columns
        }
        repeat = repeats.pop() if len(repeats) == 1 else 1
        grouped = node.attributes.get_int("group", 1) != 1
        yield Weight(node.name or "", value, rows, columns, repeat, node.op_type, prunable and len(uses) == 1, grouped)


def weights_in(graph: ir.Graph) -> list[Weight]:
    """All weights that formats can store, with the columns that coupling tells."""
    return list(all_weights(graph, spaces_by_value(couple(graph))))


def check_finite(weights: Iterable[Weight], what: str) -> None:
    """
    Args:
        what: cannot be done, for the message: "weights cannot be cored".

    Raises:
        DataError: NaN or infinity in some weights, all layers at once.
    """
    problems = [
        str(Problem(weight.layer, "its weight has NaN or infinite elements", "repair the model"))
        for weight in weights
        if not np.isfinite(weight.array).all()
    ]
    if problems:
        raise DataError(f"{what}:\n  - " + "\n  - ".join(problems))


def spaces_by_value(spaces: list[Space]) -> dict[ir.Value, list[Space]]:
    """The spaces that run along some axis of each constant."""
    found: dict[ir.Value, list[Space]] = {}
    for space in spaces:
        for member in space.members:
            if space not in found.setdefault(member.value, []):
                found[member.value].append(space)
    return found


def _axes(node: ir.Node) -> tuple[int, int, int, bool] | None:
    """Input, axes of output and input channels in it, and whether it is one matrix; None if there is no such weight."""
    place = 0 if node.op_type == "Gather" else 1
    value = node.inputs[place] if len(node.inputs) > place and node.domain == "" else None
    if value is None or value.const_value is None:
        return None
    rank, group = len(value.const_value.shape), node.attributes.get_int("group", 1)
    match node.op_type:
        case "Conv":
            return 1, 0, 1, group == 1
        case "ConvTranspose":
            return (1, 1, 0, False) if group == 1 else (1, 0, 1, False)
        case "Gemm" if rank == 2:
            return (1, 0, 1, True) if node.attributes.get_int("transB", 0) else (1, 1, 0, True)
        case "MatMul" if rank == 2:
            return 1, 1, 0, True
        case "Gather" if rank == 2 and node.attributes.get_int("axis", 0) == 0:
            return 0, 0, 1, False
    return None
