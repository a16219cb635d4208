from __future__ import annotations

import pytest

from tests.passes.support import check, normal, operators, parse
from tilewright.passes.eliminate_identity import EliminateIdentity
from tilewright.passes.infer_shapes import InferShapes


@pytest.mark.parametrize(
    "body",
    [
        "a = Identity(x)",
        "a = Dropout(x)",
        "a = Cast<to = 1>(x)",
        "a = Reshape(x, same)",
        "a = Slice(x, zeros, same)",
        "a = Pad(x, nothing)",
        "a = Concat<axis = 0>(x)",
        "b = Identity(x) a = Identity(b)",
    ],
)
def test_what_passes_its_input_through_goes(body: str) -> None:
    constants = "<int64[2] same = {2, 3}, int64[2] zeros = {0, 0}, int64[4] nothing = {0, 0, 0, 0}>"
    model = parse(f"g (float[2, 3] x) => (float[2, 3] y) {constants} {{ {body} y = Relu(a) }}")
    InferShapes()(model)
    model = check(EliminateIdentity(), model, {"x": normal(2, 3)})
    assert operators(model) == {"Relu": 1}


@pytest.mark.parametrize(
    "body",
    [
        "a = Cast<to = 7>(x) b = Cast<to = 1>(a)",
        "b = Slice(x, last, first, axes, back)",  # the same shape, reversed
        "b = Pad(x, shift)",  # the same shape, shifted
        "b = Transpose(square)",
    ],
)
def test_what_changes_data_stays(body: str) -> None:
    constants = (
        "<int64[1] last = {-1}, int64[1] first = {-9}, int64[1] axes = {1}, int64[1] back = {-1},"
        " int64[4] shift = {0, 1, 0, -1}, float[2, 2] square = {1.0, 2.0, 3.0, 4.0}>"
    )
    model = parse(f"g (float[2, 3] x) => (float[M, N] y) {constants} {{ {body} y = Relu(b) }}")
    InferShapes()(model)
    before = operators(model)
    assert operators(check(EliminateIdentity(), model, {"x": normal(2, 3)})) == before


def test_outputs_keep_their_names() -> None:
    model = parse("g (float[2] x) => (float[2] y, float[2] z) { a = Relu(x) y = Identity(a) z = Identity(a) }")
    model = check(EliminateIdentity(), model, {"x": normal(2)})
    assert operators(model) == {"Relu": 1, "Identity": 1}  # one name can be given to the value, not two


def test_an_input_that_is_an_output_stays_a_node() -> None:
    model = check(EliminateIdentity(), parse("g (float[2] x) => (float[2] y) { y = Identity(x) }"), {"x": normal(2)})
    assert operators(model) == {"Identity": 1}
