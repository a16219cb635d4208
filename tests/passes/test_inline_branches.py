from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from onnx import helper, numpy_helper

from tests.passes.support import check, normal, operators
from tilewright.passes.inline_branches import InlineBranches


def _model(condition: bool) -> ir.Model:
    """y = If(condition) { Mul(x, two) } { If(condition) { Abs(x) } { x } }; the inner If has an outer value's name."""
    value = helper.make_tensor_value_info

    def branch(name: str, nodes: list[object], output: str, constants: list[object] | None = None) -> object:
        return helper.make_graph(nodes, name, [], [value(output, 1, [2])], constants or [])

    two = numpy_helper.from_array(np.float32(2), "two")
    inner_then = branch("inner_then", [helper.make_node("Abs", ["x"], ["p"])], "p")
    inner_else = branch("inner_else", [helper.make_node("Identity", ["x"], ["q"])], "q")
    inner = helper.make_node("If", ["c"], ["r"], name="inner", then_branch=inner_then, else_branch=inner_else)
    then = branch("then", [helper.make_node("Mul", ["x", "two"], ["m"])], "m", [two])
    node = helper.make_node(
        "If", ["c"], ["y"], name="outer", then_branch=then, else_branch=branch("else", [inner], "r")
    )
    constant = numpy_helper.from_array(np.array(condition), "c")
    graph = helper.make_graph([node], "g", [value("x", 1, [2])], [value("y", 1, [2])], [constant])
    return ir.from_proto(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10))


@pytest.mark.parametrize(("condition", "left"), [(True, "Mul"), (False, "Identity")])
def test_only_the_branch_that_runs_is_left(condition: bool, left: str) -> None:
    model = check(InlineBranches(), _model(condition), {"x": normal(2)})
    assert "If" not in operators(model)
    assert left in operators(model)


def test_a_condition_that_comes_from_data_is_left_alone() -> None:
    model = _model(True)
    condition = model.graph.initializers.pop("c")
    condition.const_value = None
    condition.shape, condition.dtype = ir.Shape(()), ir.DataType.BOOL
    model.graph.inputs.append(condition)
    model = check(InlineBranches(), model, {"x": normal(2), "c": np.array(False)})
    assert operators(model) == {"If": 1}
