"""The text of OpenCL kernels: taking programs apart, and halves that are read as floats."""

from __future__ import annotations

from tests.targets.gpu import conv_and_dense
from tilewright import compile as compile_model
from tilewright.targets.opencl_source import load_as_float, split


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
