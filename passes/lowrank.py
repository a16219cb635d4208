"""Splits a layer in two thin ones: W[m,n] ~ U[m,r] V[r,n], the best approximation of its rank (Eckart and Young 1936).

    MatMul, Gemm    y = (x V) U, the bias with U
    Conv            V is a convolution of the same kernel with r channels, U one of 1x1, as in Zhang et al. 2015
                    (arXiv:1505.06798)

The node of the layer stays and gets U; a node ``<layer>/down`` in front of it gets V, their initializers are
``<weight>.up`` and ``<weight>.down``. What the factors leave, W - U V, can be kept as a parallel layer
``<layer>/residual``, to be stored in a cheap codec: then the function of the network stays. U and V share the singular
values evenly, so that both are quantized alike.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from tilewright.errors import RecipeError
from tilewright.passes.weights import Weight, check_finite, weights_in

Array = npt.NDArray[Any]

RESIDUAL = "/residual"  # ends the name of the layer that holds what the factors leave
_SPATIAL = ("strides", "pads", "dilations", "auto_pad", "group", "kernel_shape")


@dataclass(frozen=True)
class Rule:
    """How a weight is split: give exactly one of ``rank``, ``energy`` and ``nbytes``.

    Attributes:
        rank: r, at least 1.
        energy: the least share of the sum of w**2 that the factors keep, in (0, 1]; the smallest such r.
        nbytes: most bytes of both factors in float32; the greatest such r.
        residual: whether what the factors leave is kept as a third weight.
    """

    rank: int | None = None
    energy: float | None = None
    nbytes: int | None = None
    residual: bool = False

    def __post_init__(self) -> None:
        if sum(value is not None for value in (self.rank, self.energy, self.nbytes)) != 1:
            raise RecipeError("a low rank is given by exactly one of rank, energy and bytes")
        if self.rank is not None and self.rank < 1:
            raise RecipeError(f"rank is {self.rank}; it is at least 1")
        if self.energy is not None and not 0 < self.energy <= 1:
            raise RecipeError(f"energy is {self.energy}; it lies in (0, 1]")
        if self.nbytes is not None and self.nbytes < 0:
            raise RecipeError(f"bytes are {self.nbytes}; they must not be negative")


@dataclass(frozen=True)
class LowrankLayer:
    """What was done to one weight.

    Attributes:
        rank: r, 0 where the layer was left as it was.
        energy: share of the sum of w**2 that the factors keep.
        before, after: numbers of weights, without a residual.
        reason: why the layer was left, empty if it was split.
    """

    layer: str
    rank: int
    energy: float
    before: int
    after: int
    reason: str


class Lowrank(ir.passes.InPlacePass):
    """Splits layers of a normalised model.

    Attributes:
        layers: filled by the pass: every layer that the rule chose, in graph order.
    """

    def __init__(self, rule: Callable[[Weight], Rule | None]) -> None:
        """
        Args:
            rule: how to split a weight, None to leave it.
        """
        super().__init__()
        self.rule = rule
        self.layers: list[LowrankLayer] = []

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """
        Raises:
            DataError: weights with NaN or infinity, all layers at once.
        """
        weights = weights_in(model.graph)
        work = [(weight, rule) for weight in weights if (rule := self.rule(weight)) is not None]
        check_finite([weight for weight, _ in work], "weights cannot be split")
        self.layers = [_split(model.graph, weight, rule) for weight, rule in work]
        return ir.passes.PassResult(model, any(layer.rank for layer in self.layers))


def _split(graph: ir.Graph, weight: Weight, rule: Rule) -> LowrankLayer:
    matrix = _matrix(weight)
    rows, columns = matrix.shape

    def left(reason: str) -> LowrankLayer:
        return LowrankLayer(weight.layer, 0, 1.0, matrix.size, matrix.size, reason)

    reason = _obstacle(weight)
    if reason:
        return left(reason)
    values, vectors = _spectrum(matrix)
    rank = _rank(values, rows + columns, rule)
    if rank == 0:
        return left(f"{rule.nbytes:,} bytes hold no rank at all" if values.size else "the weight is zero")
    if rank * (rows + columns) >= rows * columns:
        most = -(-rows * columns // (rows + columns)) - 1
        return left(f"rank {rank} does not pay: {rows} x {columns} weights are less than both factors above {most}")
    up, down = _factors(matrix, values[:rank], vectors[:, :rank])
    rest = (matrix - up.astype(np.float64) @ down).astype(np.float32) if rule.residual else None
    _rewrite(graph, weight, up, down, rest)
    kept = float(np.square(values[:rank]).sum() / np.square(values).sum())
    return LowrankLayer(weight.layer, rank, kept, matrix.size, rank * (rows + columns), "")


def _matrix(weight: Weight) -> Array:
    """Float64 [output channels, everything else in the initializer's order]."""
    assert weight.value.const_value is not None
    array = weight.value.const_value.numpy().astype(np.float64)
    return np.moveaxis(array, weight.rows_axis, 0).reshape(array.shape[weight.rows_axis], -1)


def _obstacle(weight: Weight) -> str:
    if not weight.prunable:
        return f"its weight is not one matrix of its own ({weight.operator}: grouped, transposed, shared, or a table)"
    (use,) = weight.value.uses()
    node = use.node
    if node.op_type == "Gemm" and node.attributes.get_int("transA", 0) != 0:
        return "Gemm reads a transposed input"
    return ""


def _spectrum(matrix: Array) -> tuple[Array, Array]:
    """Singular values, the greatest first and none that float32 cannot tell from zero, and vectors of the short side.

    From the eigenvectors of the smaller Gram matrix, in float64: much faster than an SVD for long matrices. What it
    loses, values below 1e-8 of the greatest, is below the precision of the weights.
    """
    short = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    squares, vectors = np.linalg.eigh(short @ short.T)
    values = np.sqrt(np.maximum(squares[::-1], 0))
    count = int(np.count_nonzero(values > values[0] * np.finfo(np.float32).eps))
    return values[:count], vectors[:, ::-1][:, :count]


def _rank(values: Array, sides: int, rule: Rule) -> int:
    if rule.rank is not None:
        return min(rule.rank, len(values))
    if rule.nbytes is not None:
        return min(rule.nbytes // (4 * sides), len(values))
    if not len(values):
        return 0
    assert rule.energy is not None
    shares = np.cumsum(np.square(values))
    return min(int(np.searchsorted(shares, rule.energy * shares[-1])) + 1, len(values))


def _factors(matrix: Array, values: Array, vectors: Array) -> tuple[Array, Array]:
    """U and V in float32."""
    even = np.sqrt(values)
    if matrix.shape[0] <= matrix.shape[1]:
        up, down = vectors * even, (vectors / even).T @ matrix
    else:
        up, down = matrix @ (vectors / even), (vectors * even).T
    return up.astype(np.float32), down.astype(np.float32)


def _rewrite(graph: ir.Graph, weight: Weight, up: Array, down: Array, rest: Array | None) -> None:
    """Puts two nodes in the place of one, and a third beside them; the outputs are named as before."""
    (use,) = weight.value.uses()
    node, name, rank = use.node, weight.value.name or "", len(down)
    assert weight.value.const_value is not None
    shape = tuple(map(int, weight.value.const_value.shape.numpy()))
    convolves = node.op_type == "Conv"
    x, y = node.inputs[0], node.outputs[0]
    assert x is not None
    assert x.shape is not None
    assert y.shape is not None  # the model is normalised
    taken = {value.name for value in ir.convenience.create_value_mapping(graph).values()} | {n.name for n in graph}

    read, made = tuple(x.shape), tuple(y.shape)

    def front(array: Array, part: str) -> ir.Node:
        """A layer without bias that reads the same input."""
        label = _free(f"{weight.layer}/{part}", taken)
        if convolves:
            kernel = array.reshape(-1, *shape[1:])
            kind, attributes = "Conv", list(node.attributes.values())
            extents = [made[0], len(array), *made[2:]]
        else:
            kernel, kind, attributes, extents = array.T, "MatMul", [], [*read[:-1], len(array)]
        stored = _initializer(graph, _free(f"{name}.{part}", taken), kernel)
        new = ir.Node("", kind, [x, stored], attributes, name=label)
        new.outputs[0].name = _free(f"{label}.out", taken)
        new.outputs[0].shape, new.outputs[0].type = ir.Shape(extents), y.type
        graph.insert_before(node, new)
        return new

    first = front(down, "down")
    if rest is not None:
        scale = 1.0 if convolves else node.attributes.get_float("alpha", 1.0)
        beside = front((rest * scale).astype(np.float32), "residual")
        total = ir.Node("", "Add", [y, beside.outputs[0]], name=_free(f"{weight.layer}/sum", taken))
        out = total.outputs[0]
        out.shape, out.type = y.shape, y.type
        ir.convenience.replace_all_uses_with(y, out, replace_graph_outputs=True)
        total.replace_input_with(0, y)
        out.name, y.name = y.name, _free(f"{weight.layer}/up.out", taken)
        graph.insert_after(node, total)
    if convolves:
        for attribute in _SPATIAL:
            node.attributes.pop(attribute, None)
        node.attributes["kernel_shape"] = ir.AttrInt64s("kernel_shape", [1] * (len(shape) - 2))
        second = up.reshape(len(up), rank, *([1] * (len(shape) - 2)))
    else:
        second = up if weight.rows_axis == 0 else up.T
    node.replace_input_with(0, first.outputs[0])
    node.replace_input_with(1, _initializer(graph, _free(f"{name}.up", taken), second))
    del graph.initializers[name]


def _initializer(graph: ir.Graph, name: str, array: Array) -> ir.Value:
    value = ir.Value(name=name, const_value=ir.tensor(np.ascontiguousarray(array), name=name))
    value.shape, value.dtype = ir.Shape(array.shape), ir.DataType.FLOAT
    graph.register_initializer(value)
    return value


def _free(name: str, taken: set[str | None]) -> str:
    """The name, with a number behind it if it is taken."""
    found = next(spelled for spelled in _spellings(name) if spelled not in taken)
    taken.add(found)
    return found


def _spellings(name: str) -> Iterator[str]:
    yield name
    number = 1
    while True:
        yield f"{name}_{number}"
        number += 1
