"""Stores weights in compressed formats: an initializer becomes packed arrays and a node that unpacks them.

The node's operator, ``tilewright.Unpack_...``, is a function of the model whose body is made of standard ONNX operators
(from the formats' element decoders), so any ONNX runtime computes with exactly the weights that kernels will decode.
Its attributes are the fields of formats.weight_form.WeightForm, the format as its spec; its inputs are the arrays.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields

import numpy as np
import onnx_ir as ir

from tilewright.errors import DataError, ModelError, Problem, RecipeError
from tilewright.formats import element
from tilewright.formats.codecs.integer import Integer
from tilewright.formats.layouts.dense import Dense
from tilewright.formats.packed import PackedWeight, expand, pack
from tilewright.formats.registry import Format, parse
from tilewright.formats.weight_form import WeightForm
from tilewright.passes.onnx_ops import OnnxOps
from tilewright.passes.weights import Array, Weight, weights_in

DOMAIN = "tilewright"
PREFIX = "Unpack_"
OPSET = 13  # of the standard operators that bodies are made of
_ATTRIBUTES = tuple(field.name for field in fields(WeightForm))


@dataclass(frozen=True)
class EncodedLayer:
    """One stored weight.

    Attributes:
        layer, operator: name and op_type of the node that uses it.
        weight: name of the weight.
        packed: what is stored.
    """

    layer: str
    operator: str
    weight: str
    packed: PackedWeight


Observer = Callable[[str], None]
"""Hears the name of every layer that is done."""


class Encode(ir.passes.InPlacePass):
    """Encodes the weights of a normalised model of opset 13 or later.

    Attributes:
        layers: filled by the pass, in graph order.
    """

    def __init__(
        self, rule: Callable[[Weight], Format | PackedWeight | None], observe: Observer = lambda layer: None
    ) -> None:
        """
        Args:
            rule: the format of a weight, or what it was packed to already; None leaves it as it is.
        """
        super().__init__()
        self.rule = rule
        self.observe = observe
        self.layers: list[EncodedLayer] = []

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """
        Raises:
            DataError: weights that their formats cannot hold, each with its layer.
            ModelError: an older operator set.
        """
        if model.opset_imports.get("", 0) < OPSET:
            raise ModelError(f"compressed weights need opset {OPSET}; convert the model with onnx.version_converter")
        problems = []
        weights = weights_in(model.graph)
        for weight in weights:
            chosen = self.rule(weight)
            if chosen is None:
                continue
            try:
                packed = chosen if isinstance(chosen, PackedWeight) else pack(weight.matrix, chosen)
                self.layers.append(EncodedLayer(weight.layer, weight.operator, weight.value.name or "", packed))
                _replace(model, weight, packed)
            except DataError as error:
                problems.append(str(Problem(weight.layer, str(error))))
            self.observe(weight.layer)
        if problems:
            raise DataError("weights cannot be encoded:\n  - " + "\n  - ".join(problems))
        return ir.passes.PassResult(model, bool(self.layers))


def is_unpack(node: ir.Node) -> bool:
    """Whether a node unpacks a weight."""
    return node.domain == DOMAIN and node.op_type.startswith(PREFIX)


@dataclass(frozen=True)
class Unpacking(WeightForm):
    """The attributes of an unpacking node."""

    @classmethod
    def of(cls, node: ir.Node) -> Unpacking:
        """Reads a node.

        Raises:
            DataError: attributes are missing or contradict each other.
        """
        try:
            ints = {name: tuple(map(int, node.attributes[name].as_ints())) for name in _ATTRIBUTES[2:]}
            read = cls(
                parse(node.attributes["format"].as_string()),
                tuple(node.attributes["roles"].as_strings()),
                (ints["matrix"][0], ints["matrix"][1]),
                (ints["payload"][0], ints["payload"][1]),
                (ints["split"][0], ints["split"][1], ints["split"][2]),
                ints["perm"],
                ints["shape"],
            )
        except (KeyError, IndexError, TypeError, RecipeError) as error:
            raise DataError(f"{node.name}: damaged attributes of {node.op_type}: {error}") from None
        rows, taps, columns = read.split
        sound = (rows, taps * columns) == read.matrix and math.prod(read.shape) == math.prod(read.split)
        if not sound or sorted(read.perm) != [0, 1, 2] or len(read.roles) != len(node.inputs):
            raise DataError(f"{node.name}: the attributes of {node.op_type} contradict each other")
        return read

    def arrays(self, node: ir.Node) -> dict[str, Array]:
        """The packed arrays by role; all are initializers."""
        arrays = {}
        for role, value in zip(self.roles, node.inputs, strict=True):
            if value is None or value.const_value is None:
                raise DataError(f"{node.name}: its input of {role} is no constant")
            arrays[role] = value.const_value.numpy()
        return arrays

    def decode(self, node: ir.Node) -> Array:
        """The weight, float32 of its shape."""
        matrix = element.decode(self.format, self.arrays(node), self.matrix, self.payload)
        return np.ascontiguousarray(matrix.reshape(self.split).transpose(self.perm)).reshape(self.shape)


def unpackings(graph: ir.Graph) -> Iterator[tuple[ir.Node, Unpacking]]:
    """The unpacking nodes of a graph, in order."""
    return ((node, Unpacking.of(node)) for node in graph if is_unpack(node))


def _replace(model: ir.Model, weight: Weight, packed: PackedWeight) -> None:
    """Puts an unpacking node in the place of an initializer."""
    value, graph = weight.value, model.graph
    name, constant = value.name or "", value.const_value
    assert constant is not None
    index, encoded = expand(packed)
    arrays = {**index, **encoded.arrays}
    extents = weight.extents
    unpacking = Unpacking(
        packed.format,
        tuple(arrays),
        packed.shape,
        packed.payload_shape,
        (extents["R"], extents["T"], extents["C"]),
        tuple("RTC".index(axis) for axis in weight.order),
        tuple(map(int, constant.shape.numpy())),
    )
    inputs = {role: _initializer(f"{name}.{role}", array) for role, array in arrays.items()}
    function = _function(model, packed.format, inputs, rows_axis=0 if weight.order.startswith("R") else 1)
    attributes = {
        "format": packed.format.spec,
        "roles": unpacking.roles,
        **{attribute: getattr(unpacking, attribute) for attribute in _ATTRIBUTES[2:]},
    }
    label = f"{weight.layer}/unpack"
    node = ir.node(function.name, list(inputs.values()), attributes, domain=DOMAIN, name=label)
    node.outputs[0].shape, node.outputs[0].dtype = ir.Shape(unpacking.shape), ir.DataType.FLOAT
    first = min((use.node for use in value.uses()), key=list(graph).index)
    ir.convenience.replace_all_uses_with(value, node.outputs[0], replace_graph_outputs=True)
    del graph.initializers[name]
    node.outputs[0].name = name
    for stored in inputs.values():
        graph.register_initializer(stored)
    graph.insert_before(first, node)


def _initializer(name: str, array: Array) -> ir.Value:
    value = ir.Value(name=name, const_value=ir.tensor(array, name=name))
    value.shape, value.dtype = ir.Shape(array.shape), ir.DataType.from_numpy(array.dtype)
    return value


def _function(model: ir.Model, form: Format, inputs: Mapping[str, ir.Value], rows_axis: int) -> ir.Function:
    """The function of the model that unpacks a format, made where there is none yet; extents are its attributes."""
    integers = _is_plain_int8(form)
    name = PREFIX + re.sub(r"\W+", "_", f"{form.layout.spec} {form.codec.spec}").strip("_")
    name += "_columns" if integers and rows_axis else ""
    model.opset_imports[DOMAIN] = 1
    known = model.functions.get((DOMAIN, name, ""))
    if known is not None:
        return known
    ops = OnnxOps()
    parameters = {role: ir.Value(name=role) for role in inputs}
    if integers:
        weight = _dequantized(ops, parameters, rows_axis)
    else:
        loads = {role: ops.load(parameters[role], inputs[role].dtype or ir.DataType.FLOAT) for role in inputs}
        matrix, payload = (ops.extents(attribute, 2) for attribute in ("matrix", "payload"))
        decode = element.decoder(ops, form, loads, (matrix[0], matrix[1]), (payload[0], payload[1]))
        weight = _in_place(ops, ops.compute((matrix[0], matrix[1]), decode, "float32").matrix)
    opset = {"": model.opset_imports[""]}
    graph = ir.Graph(list(parameters.values()), [weight], nodes=ops.nodes, opset_imports=opset, name="unpack")
    kinds = {"format": ir.AttributeType.STRING, "roles": ir.AttributeType.STRINGS}
    attributes = [ir.Attr(key, kinds.get(key, ir.AttributeType.INTS), None) for key in _ATTRIBUTES]
    function = ir.Function(DOMAIN, name, graph=graph, attributes=attributes)
    model.functions[function.identifier()] = function
    return function


def _in_place(ops: OnnxOps, matrix: ir.Value) -> ir.Value:
    """A weight's matrix in the order and shape of the weight."""
    split = ops.op("Reshape", [matrix, ops.integers("split")])
    order = ops.op("Transpose", [split], [ir.RefAttr("perm", "perm", ir.AttributeType.INTS)])
    return ops.op("Reshape", [order, ops.integers("shape")])


def _is_plain_int8(form: Format) -> bool:
    codec = form.codec
    if not isinstance(form.layout, Dense) or not isinstance(codec, Integer):
        return False
    return codec.bits == 8 and not codec.group and not codec.asymmetric


def _dequantized(ops: OnnxOps, parameters: Mapping[str, ir.Value], rows_axis: int) -> ir.Value:
    """int8 with one scale a row or one for all ends in a DequantizeLinear, which runtimes fuse into integer kernels."""
    wide = ops.cast(_in_place(ops, parameters["values"]), "int32")
    wrapped = ops.op("Sub", [wide, ops.constant(256, "int32")])
    negative = ops.op("Greater", [wide, ops.constant(127, "int32")])
    integers = ops.cast(ops.op("Where", [negative, wrapped, wide]), "int8")
    scales = ops.cast(parameters["scales"], "float32")
    zeros = ops.op("ConstantOfShape", [ops.op("Shape", [scales])], value=ir.tensor(np.zeros(1, np.int8)))
    return ops.op("DequantizeLinear", [integers, scales, zeros], axis=rows_axis)
