"""Convolutions by compressed weights on PoCL, against NumPy in double precision."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import tilewright
from tests.targets.gpu import needs_opencl
from tests.targets.oclgrind import simulate
from tests.targets.schedules.compressed_layers import (
    Conv,
    activations,
    assert_close,
    convolution,
    convolution_reference,
    matrix,
    packed,
)
from tilewright.formats.packed import PackedWeight
from tilewright.runtime import Session


def check(weight: PackedWeight, conv: Conv) -> list[str]:
    """Compares and gives the kernels of a run."""
    artifact = tilewright.compile(convolution(weight, conv), "mali")
    x = activations(*conv.x)
    residual = activations(conv.batch, weight.shape[0], *conv.out, seed=3)
    with Session(artifact.to_bytes()) as session:
        assert_close(session.run({"x": x, "r": residual})["y"], convolution_reference(weight, conv, x, residual))
    return [launch.kernel for launch in artifact.plan.launches]


# PoCL takes a second or more to compile one example.
@settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    codec=st.sampled_from(["f32", "f16", "int8", "int4", "int3", "int4(group=32)", "int8(asymmetric)", "codebook(15)"]),
    block=st.tuples(st.sampled_from([1, 2, 4, 8, 16]), st.sampled_from([1, 2, 4])),
    outputs=st.integers(1, 20),
    units=st.integers(1, 5),
    kernel=st.sampled_from([(1, 1), (3, 3), (1, 5), (2, 3)]),
    size=st.tuples(st.integers(5, 12), st.integers(5, 13)),
    stride=st.integers(1, 2),
    dilation=st.integers(1, 2),
    padding=st.integers(0, 1),
    batch=st.integers(1, 2),
)
def test_sparse_convolution_equals_numpy(
    codec: str,
    block: tuple[int, int],
    outputs: int,
    units: int,
    kernel: tuple[int, int],
    size: tuple[int, int],
    stride: int,
    dilation: int,
    padding: int,
    batch: int,
) -> None:
    needs_opencl()
    if dilation > 1:
        size = (max(size[0], 2 * kernel[0]), max(size[1], 2 * kernel[1]))
    conv = Conv(units * block[1], size, kernel, stride, dilation, padding, batch)
    spec = f"block_sparse({block[0]},{block[1]}) {codec}"
    kernels = check(packed(matrix(outputs, conv.depth), spec, 0.3), conv)
    density = -(-conv.depth // block[1])
    assert "compressed_conv" in " ".join(kernels) or density < 8  # few blocks are not sparse


@pytest.mark.parametrize("spec", ["int4", "int8(per=tensor)", "codebook(16)"])
def test_few_pixels_by_dense_low_bit_weights(spec: str) -> None:
    needs_opencl()
    conv = Conv(30, (3, 5))
    (kernel,) = check(packed(matrix(18, 30), spec), conv)
    assert kernel.startswith("compressed_conv")


def test_many_pixels_by_dense_low_bit_weights_are_left_to_the_dense_kernel() -> None:
    needs_opencl()
    kernels = check(packed(matrix(8, 16), "int8"), Conv(16, (12, 12)))
    assert not any(kernel.startswith("compressed") for kernel in kernels)


def test_channels_that_blocks_do_not_divide() -> None:
    needs_opencl()
    kernels = check(packed(matrix(16, 30), "block_sparse(4,4) int8", 0.25), Conv(30, (4, 8)))
    assert any(kernel.startswith("compressed_conv") for kernel in kernels)


@pytest.mark.parametrize("spec", ["block_sparse(4,2) int4(group=16,asymmetric)", "int5(group=32,asymmetric)"])
def test_groups_have_zero_points_of_their_own(spec: str) -> None:
    needs_opencl()
    conv = Conv(40, (3, 4), (3, 3), padding=1) if "sparse" in spec else Conv(64, (3, 4))
    kernels = check(packed(matrix(10, conv.depth), spec, 0.25), conv)
    assert any(kernel.startswith("compressed_conv") for kernel in kernels)


@pytest.mark.parametrize(("size", "vectors"), [((8, 8), True), ((6, 6), True), ((7, 7), False)])
def test_images_of_fours_are_written_in_vectors(size: tuple[int, int], vectors: bool) -> None:
    """Four pixels of a 1x1 convolution lie side by side even where the row of an image is no multiple of four."""
    weight, conv = packed(matrix(16, 32), "block_sparse(4,4) int4", 0.25), Conv(32, size)
    check(weight, conv)
    (module,) = tilewright.compile(convolution(weight, conv), "mali").plan.modules
    source = module.images[0].data.decode()
    written = [line for line in source.splitlines() if "max(" in line and "r_ptr" in line]
    assert len(written) == (4 if vectors else 16)
    assert all(("__global float4*" in line) == vectors for line in written)


def test_oclgrind_finds_no_race_and_no_bad_access(tmp_path: Path) -> None:
    conv = Conv(8, (5, 7), (3, 3), stride=2, padding=1)
    weight = packed(matrix(6, conv.depth), "block_sparse(4,4) int4", 0.25)
    x, residual = activations(*conv.x), activations(1, 6, *conv.out, seed=3)
    got = simulate(tilewright.compile(convolution(weight, conv), "mali"), {"x": x, "r": residual}, tmp_path)
    assert_close(got["y"], convolution_reference(weight, conv, x, residual))
