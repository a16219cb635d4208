from __future__ import annotations

import pytest

from tests.passes.support import check, normal, parse
from tilewright.errors import UsageError
from tilewright.passes.fix_shapes import FixShapes

MODEL = "g (float[N, 3, H] x, float[N, 3] w) => (float[N, 3, H] y) { a = Unsqueeze(w, axes) y = Mul(x, a) }"
WITH_AXES = MODEL.replace("{", "<int64[1] axes = {2}> {", 1)


def test_fills_dimensions_and_keeps_the_result() -> None:
    model = check(FixShapes({"x": (2, 3, 5), "w": (2, 3)}), parse(WITH_AXES), {"x": normal(2, 3, 5), "w": normal(2, 3)})
    assert [tuple(value.shape or ()) for value in model.graph.inputs] == [(2, 3, 5), (2, 3)]


def test_one_name_fixes_the_same_dimension_of_every_input() -> None:
    model = FixShapes({"x": (2, 3, 5)})(parse(WITH_AXES)).model
    assert tuple(model.graph.inputs[1].shape or ()) == (2, 3)


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ({}, "open dimensions 'N', 'H'"),
        ({"z": (1,)}, "no input is called 'z'"),
        ({"x": (2, 3)}, "has rank 2, the input has 3"),
        ({"x": (2, 4, 5)}, "dimension 1 of input 'x' .* is fixed at 3; 4 was given"),
        ({"x": (2, 3, 5), "w": (1, 3)}, "is given as 1, but as 2 elsewhere"),
        ({"x": (-1, 3, 5)}, "negative dimension"),
    ],
)
def test_wrong_shapes_name_the_input(shapes: dict[str, tuple[int, ...]], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        FixShapes(shapes).call(parse(WITH_AXES))


def test_every_complaint_is_listed() -> None:
    with pytest.raises(UsageError) as caught:
        FixShapes({"z": (1,), "x": (2, 4, 5)}).call(parse(WITH_AXES))
    assert str(caught.value).count("\n  - ") == 2


def test_unknown_dimensions_written_as_numbers_or_question_marks_are_open() -> None:
    model = parse("g (float[N, 3] x) => (float[N, 3] y) { y = Relu(x) }")
    model.graph.inputs[0].shape = type(model.graph.inputs[0].shape or [])([-1, "?"])  # as PaddlePaddle exports
    fixed = FixShapes({"x": (2, 3)})(model).model
    assert tuple(fixed.graph.inputs[0].shape or ()) == (2, 3)
