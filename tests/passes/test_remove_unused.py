from __future__ import annotations

from tests.passes.support import check, normal, operators, parse
from tilewright.passes.remove_unused import RemoveUnused


def test_only_what_an_output_needs_is_left() -> None:
    model = parse(
        "g (float[2] x, float[2] z) => (float[2] y) <float w = {1.0}> { a = Neg(x) b = Add(a, w) y = Relu(x) }"
    )
    model = check(RemoveUnused(), model, {"x": normal(2), "z": normal(2)})
    assert operators(model) == {"Relu": 1}
    assert not model.graph.initializers
    assert [value.name for value in model.graph.inputs] == ["x", "z"]  # the interface stays
