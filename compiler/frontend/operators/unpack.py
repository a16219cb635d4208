"""Compressed weights: the nodes that passes/encode.py makes, as calls that a target or lower/unpack.py resolves."""

from __future__ import annotations

from collections.abc import Mapping

import onnx_ir as ir

from tilewright.errors import DataError
from tilewright.formats.packed import symbol_bits
from tilewright.frontend.operators.layer import Expr, Layer, Operator, Refusal, hint
from tilewright.lower.unpack import unpacking
from tilewright.passes.encode import Unpacking
from tilewright.plan import PackedParameter


def convert(layer: Layer) -> Expr:
    """The dense weight."""
    try:
        found = Unpacking.of(layer.node)
    except DataError as error:
        raise Refusal(str(error), "encode the weight again") from None
    arrays = [layer[place] for place in range(len(found.roles))]
    return unpacking(hint(layer.node), found, arrays)


OPERATOR = Operator(convert)


def packed_parameters(node: ir.Node) -> Mapping[ir.Value, PackedParameter]:
    """The inputs of an unpacking node, flat, and how the artifact stores them.

    Raises:
        DataError: damaged attributes.
    """
    attributes = Unpacking.of(node)
    form = attributes.format
    found = {}
    for (role, array), value in zip(attributes.arrays(node).items(), node.inputs, strict=True):
        assert value is not None
        bits = symbol_bits(form.layout if role == "index" else form.codec, role, array.dtype)
        found[value] = PackedParameter(str(value.name), array.ravel(), form.storage.spec, bits)
    return found
