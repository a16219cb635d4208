"""A network in two parts computes what the whole does, and only what crosses the cut is kept."""

from __future__ import annotations

import numpy as np

from tests.passes.support import normal, parse
from tilewright.passes.execution import runner
from tilewright.passes.infer_shapes import InferShapes
from tilewright.passes.parts import advance, crossing, part, reads


def test_parts() -> None:
    model = parse(
        """network (float[2, 3] x) => (float[2, 3] y) {
            a = Relu (x)
            b = Neg (a)
            c = Add (b, a)
            y = Mul (c, c)
        }"""
    )
    InferShapes()(model)
    nodes = list(model.graph)
    read_by = [reads(node) for node in nodes]
    assert [sorted(crossing(model.graph, nodes, read_by, place, ["y"])) for place in range(4)] == [
        ["x"],
        ["a"],
        ["a", "b"],
        ["c"],
    ]
    live = [{"x": normal(2, 3)}]
    cut = advance(model, live, ["a", "b"])
    assert set(cut[0]) == {"a", "b"}
    assert set(advance(model, cut, ["a"])[0]) == {"a"}
    (got,) = runner(part(model, ["a", "b"], ["y"]))(cut[0]).values()
    (wanted,) = runner(model)(live[0]).values()
    np.testing.assert_array_equal(got, wanted)
