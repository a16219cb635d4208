"""Evaluates everything that is known once input shapes are static, above all the Shape-Gather-Concat-Reshape chains."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir
from onnx.reference import ReferenceEvaluator

from tilewright.passes.infer_shapes import InferShapes

Array = npt.NDArray[np.generic]

_RANDOM = frozenset(
    {"RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Bernoulli", "Multinomial", "Dropout"}
)
_ALWAYS = 1 << 20  # bytes: a result up to here is stored; a larger one only when ...
_GROWTH = 8  # ... it is at most this much larger than its inputs (an Expand stays as it is)
_COMPRESSED = frozenset({"DequantizeLinear"})  # of a constant: that is how quantized models store their weights


class FoldConstants(ir.passes.InPlacePass):
    """Rules:

    1. Shape and Size of a value with a static shape: a constant.
    2. A deterministic node whose inputs are all constant: its value, by onnx's reference implementation, unless the
       result would grow the model (see ``_GROWTH``). A node that the reference refuses is left to the importer, and
       a dequantized weight stays as it is stored.
    3. Shapes are inferred again and 1-2 repeated until nothing changes.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        modified = InferShapes()(model).modified
        while _fold(model):
            modified = True
            InferShapes()(model)
        return ir.passes.PassResult(model, modified)


def _fold(model: ir.Model) -> bool:
    modified = False
    for node in model.graph:
        values = _known(node, model.opset_imports)
        if values is not None:
            _replace(model.graph, node, values)
            modified = True
    return modified


def _known(node: ir.Node, opsets: dict[str, int]) -> Sequence[Array] | None:
    if node.domain != "":
        return None
    if node.op_type in ("Shape", "Size"):
        source = node.inputs[0]
        if source is None or source.shape is None or not source.shape.is_static():
            return None
        dims = np.array(source.shape.numpy(), np.int64)
        if node.op_type == "Size":
            return [np.array(dims.prod(), np.int64)]
        start, end = node.attributes.get_int("start", 0), node.attributes.get_int("end", dims.size)
        return [dims[start:end]]
    if node.op_type in _RANDOM | _COMPRESSED or any(
        a.type in (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS) for a in _attrs(node)
    ):
        return None
    if any(value is not None and value.const_value is None for value in node.inputs):
        return None
    if any(value.shape is None or not isinstance(value.type, ir.TensorType) for value in node.outputs if value.uses()):
        return None  # not a tensor, or too odd for shape inference
    return _evaluate(node, opsets)


def _attrs(node: ir.Node) -> Sequence[ir.Attr]:
    return tuple(node.attributes.values())


def _evaluate(node: ir.Node, opsets: dict[str, int]) -> Sequence[Array] | None:
    inputs = [value for value in dict.fromkeys(node.inputs) if value is not None]
    arrays = {value.name or "": value.const_value.numpy() for value in inputs if value.const_value is not None}
    if _predicted(node) > max(_ALWAYS, _GROWTH * sum(array.nbytes for array in arrays.values())):
        return None
    proto = onnx.helper.make_model(
        onnx.helper.make_graph(
            [ir.to_proto(node)],
            "fold",
            [ir.to_proto(value) for value in inputs],
            [onnx.helper.make_empty_tensor_value_info(value.name or "") for value in node.outputs if value.name],
        ),
        opset_imports=[onnx.helper.make_opsetid("", opsets.get("", 1))],
    )
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            results = ReferenceEvaluator(proto).run(None, arrays)
    except Exception:  # an operator or type that the reference lacks: the importer decides
        return None
    if not all(isinstance(result, np.ndarray | np.generic) for result in results):
        return None
    return [np.asarray(result) for result in results]


def _predicted(node: ir.Node) -> int:
    """Bytes of the results, as far as shape inference knows them."""
    total = 0
    for value in node.outputs:
        if value.shape is not None and value.shape.is_static() and value.dtype is not None:
            total += int(np.prod(value.shape.numpy(), dtype=np.int64)) * max(1, int(value.dtype.itemsize))
    return total


def _replace(graph: ir.Graph, node: ir.Node, arrays: Sequence[Array]) -> None:
    for old, array in zip([value for value in node.outputs if value.name], arrays, strict=True):
        dtype = old.dtype if old.dtype is not None and old.dtype.numpy() == array.dtype else None
        name = old.name
        new = ir.Value(name=name, const_value=ir.Tensor(array, dtype=dtype, name=name))
        assert new.const_value is not None
        new.shape, new.dtype = ir.Shape(array.shape), new.const_value.dtype
        ir.convenience.replace_all_uses_with(old, new, replace_graph_outputs=True)
        old.name = None
        graph.register_initializer(new)
    graph.remove(node, safe=True)
