from __future__ import annotations

from tests.passes.support import check, normal, operators, parse
from tilewright.passes.lift_constants import LiftConstants


def test_constant_nodes_become_initializers() -> None:
    model = parse("g (float[2] x) => (float[2] y) { two = Constant<value_float = 2.0>() y = Mul(x, two) }")
    model = check(LiftConstants(), model, {"x": normal(2)})
    assert operators(model) == {"Mul": 1}
    assert list(model.graph.initializers) == ["two"]


def test_initializers_are_no_inputs() -> None:
    model = parse("g (float[2] x, float[2] w) => (float[2] y) <float[2] w = {1.0, 2.0}> { y = Mul(x, w) }")
    model = check(LiftConstants(), model, {"x": normal(2)})
    assert [value.name for value in model.graph.inputs] == ["x"]
