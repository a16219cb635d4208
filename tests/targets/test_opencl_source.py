"""The text of OpenCL kernels: taking programs apart, halves that are read as floats, and parts of indices."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.targets.gpu import conv_and_dense
from tilewright import compile as compile_model
from tilewright.targets.opencl_source import divided, load_as_float, split


def test_every_kernel_of_a_program_is_found() -> None:
    (image,) = compile_model(conv_and_dense(), target="mali-g52").plan.modules[0].images
    prelude, kernels = split(image.data.decode())
    assert prelude + "\n".join(kernels.values()) == image.data.decode()


def test_only_loads_that_are_widened_at_once_are_rewritten() -> None:
    rewritten = {
        "a = convert_float(p[(i + q[(j)])]);": "a = vload_half((i + q[(j)]), p);",
        "a = convert_float(p[i] * p[j]);": "a = convert_float(p[i] * p[j]);",
        "a = convert_float(pp[i]) + convert_float(p[0]) + convert_float(p[1]);": (
            "a = convert_float(pp[i]) + vload_half(0, p) + vload_half(1, p);"
        ),
    }
    for before, after in rewritten.items():
        assert load_as_float(before, "p") == after


NAMES = {"group_x": 3, "local_x": 2, "i": 5}
INDICES = st.recursive(
    st.one_of(st.integers(0, 64).map(str), st.sampled_from(sorted(NAMES))),
    lambda part: st.builds("({} {} {})".format, part, st.sampled_from("+-*"), part),
)


@given(INDICES)
def test_a_fourth_of_an_index_is_that_whatever_its_variables_are(index: str) -> None:
    fourth = divided(index, 4)
    if fourth is not None:
        assert eval(fourth, dict(NAMES)) * 4 == eval(index, dict(NAMES))


@pytest.mark.parametrize(
    ("index", "fourth"),
    [
        ("((group_x * 64) + (local_x * 4))", "(((group_x) * 16) + (local_x))"),
        ("(((i + 1) * 8) + 12)", "(((i + 1) * 2) + 3)"),
        ("((group_x * 4) + i)", None),
        ("(i * 2)", None),
        ("((i / 4) * 4)", "(i / 4)"),
        ("(i < 3 ? 4 : 8)", None),
    ],
)
def test_division_needs_a_proof(index: str, fourth: str | None) -> None:
    assert divided(index, 4) == fourth
