"""The import into Relax: interface, names, and errors. Numbers are checked in test_operators.py and by ONNX's tests."""

from __future__ import annotations

import onnx
import pytest
import tvm
from tvm import relax

from tilewright.errors import UnsupportedError
from tilewright.frontend import load, to_relax
from tilewright.lower.extract import var_name
from tilewright.lower.layers import layer_of


def _module(body: str, opset: int = 21) -> tvm.IRModule:
    return to_relax(load(onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["" : {opset}]> {body}')))[0]


def _types(mod: tvm.IRModule) -> tuple[list[tuple[list[int], str]], list[tuple[list[int], str]]]:
    function = mod["main"]

    def describe(kind: object) -> tuple[list[int], str]:
        return [int(dim) for dim in kind.shape], str(kind.dtype)  # type: ignore[attr-defined]

    result = function.ret_ty
    results = result.fields if isinstance(result, relax.TupleType) else [result]
    return [describe(p.ty) for p in function.params], [describe(r) for r in results]


def test_one_output_is_a_tensor() -> None:
    inputs, outputs = _types(_module("g (float[2, 3] x) => (float[2, 3] y) { y = Relu(x) }"))
    assert inputs == [([2, 3], "float32")]
    assert outputs == [([2, 3], "float32")]


def test_several_outputs_are_a_tuple_in_order() -> None:
    mod = _module("g (float[2, 3] x, int64[2] i) => (int64[2] a, float[2, 3] b) { b = Relu(x) a = Neg(i) }")
    inputs, outputs = _types(mod)
    assert inputs == [([2, 3], "float32"), ([2], "int64")]
    assert outputs == [([2], "int64"), ([2, 3], "float32")]


def test_outputs_that_are_inputs_or_constants() -> None:
    mod = _module(
        "g (float[2] x) => (float[2] y, int64[1] s) { y = Identity(x) s = Shape(x) }",
    )
    assert _types(mod)[1] == [([2], "float32"), ([1], "int64")]


def test_an_input_that_nothing_reads_stays() -> None:
    assert len(_types(_module("g (float[2] x, float[3] z) => (float[2] y) { y = Relu(x) }"))[0]) == 2


def test_bindings_carry_the_names_of_their_nodes() -> None:
    text = "g (float[2, 3] x) => (float[2, 3] y) { a = HardSwish(x) y = Softmax<axis = 1>(a) }"
    proto = onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["" : 21]> {text}')
    proto.graph.node[0].name, proto.graph.node[1].name = "/net/first.1", "second"
    mod, _ = to_relax(load(proto))
    names = [layer_of(var_name(binding.var)) for block in mod["main"].body.blocks for binding in block.bindings]
    assert names[:2] == ["/net/first.1", "second"]


def test_every_failing_node_is_listed() -> None:
    body = """g (float[4, 4] x, float[4, 4] z) => (float[4, 4] a, float[4, 4] b) {
        [one] a = Mod(x, z)
        t, m = Dropout(x, r, yes)
        [two] b = Mod(t, z)
    }""".replace("{", "<float r = {0.5}, bool yes = {1}> {", 1)
    with pytest.raises(UnsupportedError) as caught:
        _module(body)
    text = str(caught.value)
    assert "one (Mod): Mod of floating-point numbers needs fmod=1" in text
    assert "two (Mod)" in text
    assert "Dropout in training mode" in text
    assert len(caught.value.problems) == 3


def test_nothing_is_computed_for_empty_results() -> None:
    mod = _module("g (float[0, 3] x, float[3, 2] w) => (float[0, 2] y) { y = MatMul(x, w) }")
    assert _types(mod)[1] == [([0, 2], "float32")]
    assert "matmul" not in mod.script()
