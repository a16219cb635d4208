from __future__ import annotations

import numpy as np
import pytest

from tests.passes.support import check, normal, operators, parse
from tilewright.passes.fold_constants import FoldConstants


def test_a_reshape_chain_becomes_one_reshape() -> None:
    """The chain that exporters write for x.view(x.size(0), -1)."""
    model = parse(
        """g (float[2, 3, 4] x) => (float[A, B] y)
        <int64 zero = {0}, int64[1] axis = {0}, int64[1] rest = {-1}> {
            shape = Shape(x)
            batch = Gather(shape, zero)
            column = Unsqueeze(batch, axis)
            target = Concat<axis = 0>(column, rest)
            y = Reshape(x, target)
        }"""
    )
    model = check(FoldConstants(), model, {"x": normal(2, 3, 4)})
    assert operators(model) == {"Reshape": 1}
    assert tuple(model.graph.outputs[0].shape or ()) == (2, 12)


def test_folding_makes_later_shapes_known() -> None:
    """Without the constant shape, inference cannot know the second Shape; it is folded in the next round."""
    model = parse(
        """g (float[2, 3, 4] x) => (int64[2] y)
        <int64[2] target = {6, -1}, float one = {1.0}> {
            wide = Cast<to = 1>(target)
            scaled = Mul(wide, one)
            whole = Cast<to = 7>(scaled)
            flat = Reshape(x, whole)
            y = Shape(flat)
        }"""
    )
    model = check(FoldConstants(), model, {"x": normal(2, 3, 4)})
    (value,) = model.graph.outputs
    assert value.const_value is not None
    np.testing.assert_array_equal(value.const_value.numpy(), [6, 4])


def test_a_constant_that_would_outgrow_the_model_stays_an_expand() -> None:
    model = parse(
        """g (float[1] x) => (float[1024, 1024] y) <int64[2] size = {1024, 1024}, float one = {1.0}> {
            big = Expand(one, size)
            y = Mul(big, x)
        }"""
    )
    model = check(FoldConstants(), model, {"x": normal(1)})
    assert operators(model) == {"Expand": 1, "Mul": 1}


def test_random_numbers_are_not_folded() -> None:
    model = parse("g (float[2] x) => (float[2] y) { r = RandomNormal<shape = [2]>() y = Add(x, r) }")
    assert operators(FoldConstants()(model).model) == {"RandomNormal": 1, "Add": 1}


@pytest.mark.parametrize("opset", [13, 21])
def test_a_dequantized_weight_stays_as_it_is_stored(opset: int) -> None:
    model = parse(
        """g (float[2] x) => (float[2] y) <int8[2] q = {1, -2}, float s = {0.5}> {
            d = DequantizeLinear(q, s)
            n = Neg(d)
            y = Mul(x, n)
        }"""
    )
    model.opset_imports[""] = opset
    check(FoldConstants(), model, {"x": normal(2)})
    assert operators(model) == {"DequantizeLinear": 1, "Neg": 1, "Mul": 1}
