"""Products by ASTC blocks on PoCL, against NumPy in double precision on what the reference decoder says."""

from __future__ import annotations

from pathlib import Path

import pytest

import tilewright
from tests.targets.gpu import needs_nvrtc, needs_opencl
from tests.targets.oclgrind import simulate
from tests.targets.schedules.compressed_layers import (
    Conv,
    activations,
    assert_close,
    convolution,
    convolution_reference,
    matrix,
    packed,
    product,
)
from tests.targets.schedules.compressed_layers import product_reference as reference
from tilewright.runtime import Session
from tilewright.targets import device_facts
from tilewright.targets.nvrtc import kernel_resources
from tilewright.targets.schedules.gpu_kernel_weights import KEPT_ASTC

# Trits, quints and plain bits in weights; endpoints of 256 and of 160 levels (8x6).
SPECS = ["astc(4,4)", "astc(6,6)", "astc(8,5)", "astc(8,6)"]


@pytest.mark.parametrize("spec", SPECS)
def test_equals_numpy(spec: str) -> None:
    needs_opencl()
    rows = 1 + SPECS.index(spec) % 2
    weight, x = packed(matrix(27, 41), spec), activations(rows, 41)
    residual = activations(rows, 27, seed=3)
    artifact = tilewright.compile(product(weight, (rows,), residual=True), "mali")
    (kernel,) = (launch.kernel for launch in artifact.plan.launches if "astc" in launch.kernel)
    assert kernel.startswith("astc_multiply_add")
    assert len(artifact.plan.launches) <= 2  # the other pads activations
    with Session(artifact.to_bytes()) as session:
        assert_close(session.run({"x": x, "r": residual})["y"], reference(weight, x, residual))


@pytest.mark.parametrize(("spec", "rows"), [("astc(12,12)", 1), ("astc(6,6)", 64)])
def test_other_blocks_are_unpacked_at_load(spec: str, rows: int) -> None:
    artifact = tilewright.compile(product(packed(matrix(24, 36), spec, 0.5), (rows,)), "mali")
    assert not any(launch.kernel.startswith("astc") for launch in artifact.plan.launches)
    (reason,) = artifact.plan.unpacked.values()
    assert reason == KEPT_ASTC


# Blocks of the layout a multiple of those of texels in height, and not; kept columns that do not fill the latter.
@pytest.mark.parametrize(("spec", "rows"), [("block_sparse(8,2) astc(5,4)", 3), ("block_sparse(4,1) astc(6,6)", 1)])
def test_sparse_blocks_equal_numpy(spec: str, rows: int) -> None:
    needs_opencl()
    weight, x = packed(matrix(27, 41), spec, 0.4), activations(rows, 41)
    artifact = tilewright.compile(product(weight, (rows,)), "mali")
    assert not artifact.plan.unpacked
    with Session(artifact.to_bytes()) as session:
        assert_close(session.run({"x": x})["y"], reference(weight, x))


@pytest.mark.parametrize(
    ("spec", "rows"), [("block_sparse(8,2) astc(5,4)", 20), ("block_sparse(4,4) astc(4,4,astcenc=10)", 1)]
)
def test_sparse_blocks_that_no_kernel_decodes_are_sparse_all_the_same(spec: str, rows: int) -> None:
    """Of many rows, or astcenc's: decoded at load, into the order of the kernel, which skips what was dropped."""
    needs_opencl()
    weight, x = packed(matrix(90, 72), spec, 0.25), activations(rows, 72)
    artifact = tilewright.compile(product(weight, (rows,)), "mali")
    assert [launch.kernel for launch in artifact.plan.launches] == ["compressed_add_relu_kernel"]
    assert not artifact.plan.unpacked
    with Session(artifact.to_bytes()) as session:
        assert_close(session.run({"x": x})["y"], reference(weight, x))


def test_convolutions_of_sparse_blocks() -> None:
    needs_opencl()
    conv = Conv(16, (7, 6), (3, 3), padding=1)
    weight, x = packed(matrix(22, conv.depth), "block_sparse(4,4) astc(6,6)", 0.2), activations(*conv.x)
    residual = activations(1, 22, *conv.out, seed=3)
    artifact = tilewright.compile(convolution(weight, conv), "mali")
    assert any("compressed_conv" in launch.kernel for launch in artifact.plan.launches)
    with Session(artifact.to_bytes()) as session:
        got = session.run({"x": x, "r": residual})["y"]
    assert_close(got, convolution_reference(weight, conv, x, residual))


@pytest.mark.parametrize("spec", ["astc(6,6)", "block_sparse(2,2) astc(5,4)"])
def test_oclgrind_finds_no_race_and_no_bad_access(spec: str, tmp_path: Path) -> None:
    weight, x = packed(matrix(13, 20), spec, 0.5), activations(1, 20)
    got = simulate(tilewright.compile(product(weight, (1,)), "mali"), {"x": x}, tmp_path)
    assert_close(got["y"], reference(weight, x))


@pytest.mark.parametrize("spec", ["astc(6,6)", "block_sparse(4,4) astc(4,4)"])
def test_ptxas_spills_nothing(spec: str) -> None:
    needs_nvrtc()
    weight = packed(matrix(48, 96), spec, 0.25)
    for device in ("jetson-nano", "jetson-orin"):
        (arch,) = device_facts(device)["archs"]
        ((module,),) = (tilewright.compile(product(weight, (1,)), device).plan.modules,)
        ptx = next(image.data for image in module.images if image.kind == "ptx")
        assert all(used.spill_bytes == used.stack_bytes == 0 for used in kernel_resources(ptx, arch).values())
