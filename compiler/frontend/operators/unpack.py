"""Compressed weights: the nodes that passes/encode.py makes, as calls that a target or lower/unpack.py resolves."""

from __future__ import annotations

from collections.abc import Mapping

import onnx_ir as ir

from tilewright.errors import DataError
from tilewright.formats.packed import symbol_bits
from tilewright.frontend.operators.layer import Expr, Layer, Operator, Refusal, hint
from tilewright.lower.unpack import Unpack
from tilewright.passes.encode import Unpacking
from tilewright.plan import PackedParameter


def convert(layer: Layer) -> Expr:
    """The dense weight."""
    try:
        unpacking = Unpacking.of(layer.node)
    except DataError as error:
        raise Refusal(str(error), "encode the weight again") from None
    u = unpacking
    call = Unpack(hint(layer.node), u.format.spec, u.roles, u.matrix, u.payload, u.split, u.perm, u.shape)
    return call.call([layer[place] for place in range(len(u.roles))])


OPERATOR = Operator(convert)


def packed_parameters(node: ir.Node) -> Mapping[ir.Value, PackedParameter]:
    """The inputs of an unpacking node, flat, and how the artifact stores them.

    Raises:
        DataError: damaged attributes.
    """
    unpacking = Unpacking.of(node)
    form = unpacking.format
    found = {}
    for (role, array), value in zip(unpacking.arrays(node).items(), node.inputs, strict=True):
        assert value is not None
        bits = symbol_bits(form.layout if role == "index" else form.codec, role, array.dtype)
        found[value] = PackedParameter(str(value.name), array.ravel(), form.storage.spec, bits)
    return found
