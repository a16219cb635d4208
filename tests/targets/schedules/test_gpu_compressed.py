"""Products by compressed weights on PoCL, against NumPy in double precision."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import tilewright
from tests.targets.gpu import needs_nvrtc, needs_opencl
from tests.targets.oclgrind import simulate
from tests.targets.schedules.compressed_layers import (
    Array,
    activations,
    assert_close,
    matrix,
    packed,
    product,
    product_reference,
)
from tilewright.formats.packed import PackedWeight
from tilewright.runtime import Session
from tilewright.targets import device_facts
from tilewright.targets.nvrtc import kernel_resources

CODECS = [
    *("f32", "f16", "int2", "int3", "int4", "int5", "int6", "int7", "int8", "int8(per=tensor)", "int4(group=32)"),
    *("int8(group=48)", "int4(group=32,asymmetric)", "int6(asymmetric)", "codebook(16)", "codebook(255)"),
    "codebook(11,scaled)",
]
SIDES = st.sampled_from([1, 2, 4, 8, 16, 32])
LAYOUTS = st.one_of(st.just("dense"), st.builds("block_sparse({},{})".format, SIDES, SIDES))


def run(
    weight: PackedWeight, lead: tuple[int, ...], residual: bool = False, device: str = "mali"
) -> tuple[Array, tuple[Array, Array], list[str]]:
    """What PoCL computes, what is right, and the kernels of a run."""
    artifact = tilewright.compile(product(weight, lead, residual=residual), device)
    x = activations(*lead, weight.shape[1])
    feeds = {"x": x}
    if residual:
        feeds["r"] = activations(*lead, weight.shape[0], seed=3)
    with Session(artifact.to_bytes()) as session:
        got = session.run(feeds)["y"].copy()
    return got, product_reference(weight, x, feeds.get("r")), [launch.kernel for launch in artifact.plan.launches]


# PoCL takes a second or more to compile one example.
@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    codec=st.sampled_from(CODECS),
    layout=LAYOUTS,
    outputs=st.integers(1, 90),
    depth=st.integers(1, 140),
    lead=st.sampled_from([(1,), (3,), (2, 5), (64,)]),
    density=st.sampled_from([0.01, 0.3, 1.0]),
    residual=st.booleans(),
    on=st.sampled_from(["mali", "mali-pocl"]),
)
def test_equals_numpy(
    codec: str,
    layout: str,
    outputs: int,
    depth: int,
    lead: tuple[int, ...],
    density: float,
    residual: bool,
    on: str,
) -> None:
    needs_opencl()
    weight = packed(matrix(outputs, depth), f"{layout} {codec}", density)
    got, wanted, _ = run(weight, lead, residual, on)
    assert_close(got, wanted)


@pytest.mark.parametrize("spec", ["f32", "int4", "int4(group=32)", "block_sparse(16,1) f32", "block_sparse(4,4) int8"])
def test_work_items_that_run_one_after_another(spec: str) -> None:
    """They read several streams of long rows, and have more outputs each."""
    needs_opencl()
    got, wanted, _ = run(packed(matrix(40, 512), spec, 0.25), (2,), device="mali-pocl")
    assert_close(got, wanted)


@pytest.mark.parametrize("spec", ["int4", "block_sparse(4,4) int8", "block_sparse(16,1) f32"])
def test_is_one_kernel_with_its_epilogue(spec: str) -> None:
    needs_opencl()
    got, wanted, kernels = run(packed(matrix(64, 96), spec, 0.25), (1,), residual=True)
    assert_close(got, wanted)
    assert len(kernels) == 1
    assert kernels[0].startswith("compressed")


def test_all_zero_rows() -> None:
    needs_opencl()
    weights = matrix(24, 64)
    weights[4:20] = 0
    got, wanted, _ = run(packed(weights, "block_sparse(4,4) int4"), (2,))
    assert_close(got, wanted)


@pytest.mark.parametrize("spec", ["block_sparse(4,2) int4", "block_sparse(2,8) int5", "int4(group=32,asymmetric)"])
def test_oclgrind_finds_no_race_and_no_bad_access(spec: str, tmp_path: Path) -> None:
    weight, x = packed(matrix(21, 70), spec, 0.3), activations(3, 70)
    got = simulate(tilewright.compile(product(weight, (3,)), "mali"), {"x": x}, tmp_path)
    assert_close(got["y"], product_reference(weight, x))


@pytest.mark.parametrize("spec", ["int5(group=32)", "block_sparse(1,4) codebook(16)"])
def test_ptxas_spills_nothing(spec: str) -> None:
    needs_nvrtc()
    weight = packed(matrix(64, 256), spec, 0.25)
    for device in ("jetson-nano", "jetson-orin"):
        (arch,) = device_facts(device)["archs"]
        ((module,),) = (tilewright.compile(product(weight, (16,)), device).plan.modules,)
        ptx = next(image.data for image in module.images if image.kind == "ptx")
        used = kernel_resources(ptx, arch)
        assert used
        assert not any(kernel.spill_bytes or kernel.shared_bytes > 32 * 1024 for kernel in used.values())
