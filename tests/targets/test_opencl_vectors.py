"""Which loads and stores of OpenCL kernels become those of whole vectors."""

from __future__ import annotations

import pytest

from tilewright.targets.opencl_vectors import with_vectors

HEAD = "void k(__global float* restrict y, __global const int* restrict w, __global const half* restrict h) {\n"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("a = vload4(0, w + (i * 4));", "a = ((__global const int4*)w)[(i)];"),
        ("a = vload8(0, h + ((i * 16) + 8));", "a = ((__global const half8*)h)[(((i) * 2) + 1)];"),
        ("a = vload4(0, w + ((i * 4) + j));", "a = vload4(0, w + ((i * 4) + j));"),  # j may be anything
        ("a = vload4(0, w + (i * 2));", "a = vload4(0, w + (i * 2));"),
        ("a = vload4(0, tile + (i * 4));", "a = vload4(0, tile + (i * 4));"),  # an array of the kernel's own
        ("a = vload_half4(0, h + (i * 4));", "a = vload_half4(0, h + (i * 4));"),  # without cl_khr_fp16
        ("vstore4(a + b, 0, y + (i * 4));", "((__global float4*)y)[(i)] = a + b;"),
        ("vstore4(f(a, 0, b), 0, y + i);", "vstore4(f(a, 0, b), 0, y + i);"),
        (
            "vstore4(vload4(0, w + 8) + vload4(0, w + 9), 0, y + 12);",
            "((__global float4*)y)[3] = ((__global const int4*)w)[2] + vload4(0, w + 9);",
        ),
        (
            "a = vload4(0, w + (vload2(0, w + 6).x * 4));",
            "a = ((__global const int4*)w)[(((__global const int2*)w)[3].x)];",
        ),
        (
            "a = vload4(0, w + (vload2(0, w + i).x * 4));",
            "a = ((__global const int4*)w)[(vload2(0, w + i).x)];",
        ),
    ],
)
def test_aligned_vectors_of_parameters(before: str, after: str) -> None:
    assert with_vectors(HEAD + before) == HEAD + after
