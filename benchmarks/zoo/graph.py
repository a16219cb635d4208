"""A small builder of ONNX graphs for networks that are rebuilt here from their weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = 17
FLOAT = int(TensorProto.FLOAT)
INT64 = int(TensorProto.INT64)


class Graph:
    """Nodes and weights in the order they are added; every value is known by its name (a str)."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._nodes: list[onnx.NodeProto] = []
        self._weights: dict[str, onnx.TensorProto] = {}
        self._inputs: list[onnx.ValueInfoProto] = []

    def input(self, name: str, shape: Sequence[int | str], dtype: int = FLOAT) -> str:
        """A graph input; a str dimension is symbolic."""
        self._inputs.append(helper.make_tensor_value_info(name, dtype, list(shape)))
        return name

    def weight(self, name: str, value: npt.ArrayLike) -> str:
        """An initializer; adding the same name again is allowed and does nothing."""
        if name not in self._weights:
            self._weights[name] = numpy_helper.from_array(np.ascontiguousarray(value), name)
        return name

    def node(self, op_type: str, name: str, *inputs: str, **attributes: Any) -> str:
        """A node with one output, named like the node."""
        self._nodes.append(helper.make_node(op_type, list(inputs), [name], name=name, **attributes))
        return name

    def model(self, outputs: Mapping[str, Sequence[int | str]]) -> onnx.ModelProto:
        """The checked model, with float32 `outputs` of the shapes given."""
        infos = [helper.make_tensor_value_info(name, FLOAT, list(shape)) for name, shape in outputs.items()]
        graph = helper.make_graph(self._nodes, self._name, self._inputs, infos, list(self._weights.values()))
        opset = helper.make_operatorsetid("", OPSET)
        model = helper.make_model(graph, opset_imports=[opset], ir_version=8, producer_name="tilewright")
        onnx.checker.check_model(model, full_check=True)
        return model
