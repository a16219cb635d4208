"""Compressed weights while a target rewrites ``main``: finding them, new parameters, and which parameters are left."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from tvm import relax

from tilewright.formats.packed import expand, pack
from tilewright.plan import PackedParameter
from tilewright.targets.packed_weights import PackedWeights, Unpack
from tilewright.targets.static import NUM_INPUT, packed_parameters

SPEC = "block_sparse(4,4) int4 raw"
PACKED = pack(np.random.default_rng(0).standard_normal((8, 12)).astype(np.float32), SPEC, 0.5)
ARRAYS = {role: array.ravel() for part in (expand(PACKED)[0], expand(PACKED)[1].arrays) for role, array in part.items()}
PARAMETERS = [PackedParameter(f"w.{role}", array) for role, array in ARRAYS.items()]


def unpack() -> Unpack:
    form = PACKED.format, tuple(ARRAYS), PACKED.shape, PACKED.payload_shape, (8, 1, 12), (0, 1, 2), (8, 12)
    return Unpack(*form, "layer")


def main(make: Any) -> tuple[Any, dict[str, Any]]:
    """A function of x and packed arrays that returns ``make(builder, x, weight)``, and its bindings."""
    builder = relax.BlockBuilder()
    x = relax.Var("x", relax.TensorType((2, 12), "float32"))
    variables = [
        relax.Var(p.name.replace(".", "_"), relax.TensorType(p.array.shape, str(p.array.dtype))) for p in PARAMETERS
    ]
    with builder.function("main", [x, *variables], attrs={NUM_INPUT: 1}):
        with builder.dataflow():
            weight = builder.emit(unpack().call(variables))
            out = builder.emit_output(make(builder, x, weight))
        builder.emit_func_output(out)
    function = builder.get()["main"]
    return function, {binding.var: binding.value for block in function.body.blocks for binding in block.bindings}


def product(axes: Sequence[int] | None) -> Any:
    return lambda b, x, w: b.emit(relax.op.matmul(x, b.emit(relax.op.permute_dims(w, axes))))


def test_a_call_tells_what_it_was_made_of() -> None:
    variables = [relax.Var(role, relax.TensorType(array.shape, str(array.dtype))) for role, array in ARRAYS.items()]
    found = Unpack.of(unpack().call(variables))
    assert found is not None
    assert found[0] == unpack()
    assert [a.same_as(b) for a, b in zip(found[1], variables, strict=True)] == [True] * len(variables)
    assert found[0].format.codec.bits == 4
    assert Unpack.of(variables[0]) is None
    assert Unpack.of(relax.op.add(variables[1], variables[1])) is None


@pytest.mark.parametrize(("axes", "transposed"), [(None, True), ([1, 0], True), ([0, 1], False)])
def test_weights_are_found_behind_a_transposition(axes: Sequence[int] | None, transposed: bool) -> None:
    function, bindings = main(product(axes) if transposed else lambda b, x, w: b.emit(relax.op.permute_dims(w, axes)))
    weights = PackedWeights(function, PARAMETERS)
    moved = next(var for var, value in bindings.items() if getattr(value.op, "name", "") == "relax.permute_dims")
    found = weights.find(moved, bindings.get)
    assert found is not None
    weight, turned = found
    assert turned == transposed
    assert weight.format.spec == SPEC
    for role, array in ARRAYS.items():
        np.testing.assert_array_equal(weight.arrays[role], array)
        assert weight.source[role].name == f"w.{role}"
    assert weights.find(function.params[0], bindings.get) is None
    assert weights.unpacked_bytes == 4 * math.prod(weight.unpack.matrix)


def test_parameters_are_those_in_use() -> None:
    function, _ = main(product(None))
    weights = PackedWeights(function, PARAMETERS)
    assert len(packed_parameters(function)) == len(PARAMETERS)
    same, kept = weights.finish(function)
    assert [p.name for p in kept] == [p.name for p in PARAMETERS]
    assert len(same.params) == 1 + len(PARAMETERS)

    made = PackedParameter("w.values", np.arange(8, dtype=np.float32))
    var = weights.add(made)
    assert weights.add(PackedParameter("w.values", made.array.copy())).same_as(var)
    assert not weights.add(PackedParameter("w.values", made.array + 1)).same_as(var)
    builder = relax.BlockBuilder()
    x = function.params[0]
    with builder.function("main", [x, var], attrs={NUM_INPUT: 1}):
        with builder.dataflow():
            out = builder.emit_output(relax.op.multiply(x, relax.op.sum(var)))
        builder.emit_func_output(out)
    body = builder.get()["main"]
    replaced = relax.Function(function.params, body.body, body.ret_ty).with_attrs(function.attrs)
    new, left = weights.finish(replaced)
    assert left == (made,)
    assert [param.same_as(var) for param in new.params[1:]] == [True]
    assert int(new.attrs[NUM_INPUT]) == 1
