"""The pipeline in passes/__init__.py."""

from __future__ import annotations

import onnx_ir as ir
import pytest

from tests.passes.support import normal, operators, parse, run
from tilewright.errors import ModelError, UsageError
from tilewright.passes import normalise
from tilewright.passes import run as run_passes
from tilewright.passes.name_nodes import NameNodes
from tilewright.passes.remove_unused import RemoveUnused

CHAIN = """g (float[N, 3, 4] x) => (float[N, M] y) <int64 zero = {0}, int64[1] axis = {0}> {
    rest = Constant<value_ints = [-1]>()
    dropped = Dropout(x)
    shape = Shape(dropped)
    batch = Gather(shape, zero)
    column = Unsqueeze(batch, axis)
    target = Concat<axis = 0>(column, rest)
    flat = Reshape(dropped, target)
    y = Celu(flat)
}"""


def test_normalise_leaves_a_static_graph_that_computes_the_same() -> None:
    feeds = {"x": normal(2, 3, 4)}
    before = run(parse(CHAIN), feeds)
    model = normalise(parse(CHAIN), {"x": (2, 3, 4)}, keep=lambda node: True)
    assert operators(model) == {"Reshape": 1, "Celu": 1}
    assert all(value.shape is not None and value.shape.is_static() for node in model.graph for value in node.outputs)
    assert (run(model, feeds)[0] == before[0]).all()


def test_our_own_errors_pass_through() -> None:
    with pytest.raises(UsageError, match="open dimensions 'N'"):
        normalise(parse(CHAIN), {}, keep=lambda node: True)


class _Broken(ir.passes.InPlacePass):
    def call(self, model: ir.Model) -> ir.passes.PassResult:
        raise KeyError("what")


def test_a_failing_pass_is_named_with_those_before_it() -> None:
    with pytest.raises(ModelError, match="pass _Broken failed after NameNodes, RemoveUnused: 'what'"):
        run_passes(parse(CHAIN), [NameNodes(), RemoveUnused(), _Broken()])
