"""A constant that a pass adds to a graph."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import onnx_ir as ir


def add_constant(graph: ir.Graph, name: str, array: npt.ArrayLike) -> ir.Value:
    """Registers an initializer of the array's shape and dtype; ``name`` is one that the graph does not have yet."""
    tensor = ir.Tensor(np.asarray(array), name=name)
    value = ir.Value(name=name, const_value=tensor, shape=tensor.shape, type=ir.TensorType(tensor.dtype))
    graph.register_initializer(value)
    return value
