from __future__ import annotations

from tests.passes.support import normal, parse, run
from tilewright.passes.name_nodes import NameNodes


def test_names_are_unique_and_kept_where_they_are() -> None:
    model = parse("g (float[2] x) => (float[2] y) { [mine] a = Relu(x) b = Neg(a) c = Neg(b) [other] y = Abs(c) }")
    model.graph[3].name = "mine"  # onnxruntime would refuse the name given twice, so it judges the result alone
    model = NameNodes()(model).model
    assert run(model, {"x": normal(2)})
    names = [node.name for node in model.graph]
    assert names[0] == "mine"
    assert len(set(names)) == 4
    assert all(names)
    assert (names[1] or "").startswith("Neg")


def test_names_do_not_depend_on_the_run() -> None:
    text = "g (float[2] x) => (float[2] y) { a = Relu(x) y = Relu(a) }"
    first, second = (NameNodes()(parse(text)).model for _ in range(2))
    assert [node.name for node in first.graph] == [node.name for node in second.graph]
