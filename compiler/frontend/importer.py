"""Imports a normalised ONNX graph into TVM's Relax, node by node, through the table of operators."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir
import tvm
from tvm import relax

from tilewright.errors import Problem, UnsupportedError
from tilewright.frontend.operators import lookup
from tilewright.frontend.operators.layer import Expr, Layer, Refusal, dtype_name, hint, static_shape
from tilewright.frontend.operators.quantization import integer_parameter, stored_integers
from tilewright.frontend.operators.unpack import packed_parameters
from tilewright.passes.encode import is_unpack
from tilewright.plan import PackedParameter


def to_relax(model: ir.Model) -> tuple[tvm.IRModule, tuple[PackedParameter, ...]]:
    """Imports a model that ``load`` has normalised.

    Returns:
        A module with the function ``main``, one Tensor or a Tuple of all outputs; and its parameters after the model's
        inputs: the packed arrays of compressed weights, and integers to be dequantized. Bindings are named after their
        ONNX nodes.

    Raises:
        UnsupportedError: every node that cannot be converted, with its reason.
        DataError: a compressed weight is damaged.
    """
    return _Importer(model).run()


class _Importer:
    def __init__(self, model: ir.Model) -> None:
        self.model = model
        self.builder = relax.BlockBuilder()
        self.values: dict[ir.Value, Expr] = {}
        self.problems: list[Problem] = []

    def run(self) -> tuple[tvm.IRModule, tuple[PackedParameter, ...]]:
        graph, builder = self.model.graph, self.builder
        packed: dict[ir.Value, PackedParameter] = {}
        for node in graph:
            if is_unpack(node):
                packed |= packed_parameters(node)
            elif (stored := stored_integers(node)) is not None:
                packed |= {stored: integer_parameter(stored)}
        for value in graph.inputs:
            self.values[value] = _placeholder(value)
        for value, parameter in packed.items():
            tensor = relax.TensorType(parameter.array.shape, str(parameter.array.dtype))
            self.values[value] = relax.Var(_identifier(parameter.name), tensor)
        attributes = {"num_input": len(graph.inputs)} if packed else {}
        parameters = [self.values[value] for value in (*graph.inputs, *packed)]
        with builder.function("main", parameters, attrs=attributes):
            with builder.dataflow():
                for node in graph:
                    self._convert(node)
                results = [self._get(value) for value in graph.outputs]
                output = builder.emit_output(*_returned(results, graph))
            builder.emit_func_output(output)
        if self.problems:
            raise UnsupportedError(f"{len(self.problems)} layer(s) cannot be imported", self.problems)
        return builder.get(), tuple(packed.values())

    def _convert(self, node: ir.Node) -> None:
        """Converts a node; after a failure its outputs become placeholders, so that later nodes are still checked."""
        try:
            results = self._results(node)
        except Refusal as refusal:
            self.problems.append(Problem(_label(node), refusal.reason, refusal.remedy))
        except Exception as error:  # TVM raises whatever it likes; its first line names the reason
            reason = " ".join(str(error).strip().splitlines()[-1:]) or type(error).__name__
            self.problems.append(Problem(_label(node), f"TVM cannot express it: {reason[:200]}"))
        else:
            self.values.update(zip(node.outputs, results, strict=False))
            return
        self.values.update((value, _placeholder(value)) for value in node.outputs if value.shape is not None)

    def _results(self, node: ir.Node) -> Sequence[Expr]:
        operator = lookup(node)
        if operator is None:
            raise Refusal("no such operator")
        if all(value.shape is not None and 0 in value.shape for value in node.outputs if _used(value)):
            return [_empty(value) for value in node.outputs]  # nothing to compute, and TVM has no empty loops
        inputs = tuple(None if value is None else self._get(value) for value in node.inputs)
        opset = self.model.opset_imports.get(node.domain, 1)
        layer = Layer(self.builder, node, opset, inputs)
        converted = operator.convert(layer)
        results = [converted] if not isinstance(converted, list | tuple) else converted
        return [self._bind(node, value, result) for value, result in zip(node.outputs, results, strict=False)]

    def _bind(self, node: ir.Node, value: ir.Value, expr: Expr | None) -> Expr | None:
        """Emits a result and holds it to what ONNX says about its shape and type."""
        if not _used(value):
            return None
        if expr is None:
            raise Refusal(f"output '{value.name}' is not supported")
        if not isinstance(expr, relax.Var | tvm.ir.GenericConst):
            expr = self.builder.emit(expr, name_hint=hint(node))
        shape, dtype = tuple(int(dim) for dim in expr.ty.shape), str(expr.ty.dtype)
        if (shape, dtype) != (static_shape(value), dtype_name(value)):
            raise Refusal(
                f"'{value.name}' became {dtype}{shape} where ONNX has {dtype_name(value)}{static_shape(value)}"
            )
        return expr

    def _get(self, value: ir.Value) -> Expr:
        if value not in self.values:
            if value.const_value is None:
                raise Refusal(f"'{value.name}' has no value")
            array = value.const_value.numpy()
            self.values[value] = relax.const(array, dtype_name(value))
        return self.values[value]


def _returned(results: list[Expr], graph: ir.Graph) -> tuple[Expr, str]:
    """What the function returns, and a name for it: a single result's variable takes the place of its layer's."""
    if len(results) != 1:
        return relax.Tuple(results), ""
    producer = graph.outputs[0].producer()
    return results[0], "" if producer is None else hint(producer)


def _placeholder(value: ir.Value) -> relax.Var:
    return relax.Var(_identifier(value.name or "x"), relax.TensorType(static_shape(value), dtype_name(value)))


def _identifier(name: str) -> str:
    """Of C, for kernels take over names of variables for their parameters; graph inputs may be called "0"."""
    name = "".join(char if char.isalnum() and char.isascii() else "_" for char in name)
    return f"_{name}" if name[:1].isdigit() else name


def _empty(value: ir.Value) -> Expr | None:
    dtype = dtype_name(value)
    return relax.const(np.zeros(static_shape(value), dtype), dtype) if _used(value) else None


def _used(value: ir.Value) -> bool:
    return bool(value.uses()) or value.is_graph_output()


def _label(node: ir.Node) -> str:
    return f"{node.name} ({node.op_type})"
