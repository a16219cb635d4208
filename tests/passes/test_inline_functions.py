from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
from onnx import helper

from tests.passes.support import check, normal, operators, parse
from tilewright.passes.inline_functions import InlineFunctions
from tilewright.passes.name_nodes import NameNodes


def test_standard_operators_without_a_converter_become_their_bodies() -> None:
    model = parse("g (float[2, 3] x) => (float[2, 3] y) { [act] y = Celu<alpha = 2.0>(x) }")
    NameNodes()(model)
    # 1e-6: float32 roundings; the body computes what the kernel computes, in more steps.
    model = check(InlineFunctions(lambda node: node.op_type != "Celu"), model, {"x": normal(2, 3)}, rtol=1e-6)
    assert "Celu" not in operators(model)
    assert all(str(node.name).startswith("act/") for node in model.graph)  # the layer that they came from


def test_bodies_that_depend_on_types_and_defaults() -> None:
    model = parse(
        "g (float[2, 3] x, float[3] s) => (float[2, 3] y) { y = LayerNormalization(x, s) }",
    )
    NameNodes()(model)
    feeds = {"x": normal(2, 3), "s": normal(3)}
    known = ("LayerNormalization",)
    model = check(InlineFunctions(lambda node: node.op_type not in known), model, feeds, rtol=1e-5)
    assert "LayerNormalization" not in operators(model)


def test_what_the_importer_knows_is_kept() -> None:
    model = parse("g (float[2, 3] x) => (float[2, 3] y) { y = Celu(x) }")
    assert operators(InlineFunctions(lambda node: True)(model).model) == {"Celu": 1}


def _with_function(domain: str) -> ir.Model:
    """y = twice(x), where twice is a function of the model with an attribute."""
    body = helper.make_function(
        domain,
        "twice",
        ["a"],
        ["b"],
        [onnx.parser.parse_node("b = Add(a, a)")],
        [helper.make_opsetid("", 21)],
    )
    value = helper.make_tensor_value_info
    node = helper.make_node("twice", ["x"], ["y"], domain=domain, name="call")
    graph = helper.make_graph([node], "g", [value("x", 1, [2])], [value("y", 1, [2])])
    imports = [helper.make_opsetid("", 21), helper.make_opsetid(domain, 1)]
    return ir.from_proto(helper.make_model(graph, functions=[body], opset_imports=imports, ir_version=10))


def test_functions_of_the_model_are_inlined() -> None:
    model = check(InlineFunctions(lambda node: node.domain == ""), _with_function("mine"), {"x": normal(2)})
    assert operators(model) == {"Add": 1}


def test_a_function_that_the_importer_knows_stays_a_call() -> None:
    """This is how compressed layers keep their body as their meaning without losing their identity."""
    model = check(InlineFunctions(lambda node: True), _with_function("tilewright"), {"x": normal(2)})
    assert operators(model) == {"twice": 1}
    assert len(model.functions) == 1


def test_outputs_that_a_node_leaves_out_do_not_matter() -> None:
    scores, labels = normal(3, 5), np.array([1, 0, 4])
    model = parse(
        'g (float[3, 5] x, int64[3] t) => (float y) { y = SoftmaxCrossEntropyLoss<reduction = "mean">(x, t) }'
    )
    NameNodes()(model)
    known = ("SoftmaxCrossEntropyLoss", "NegativeLogLikelihoodLoss")
    step = InlineFunctions(lambda node: node.op_type not in known)
    assert "SoftmaxCrossEntropyLoss" not in operators(check(step, model, {"x": scores, "t": labels}, rtol=1e-6))
