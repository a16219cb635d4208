"""Products of bytes by compressed weights on PoCL: their integers are exactly NumPy's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import tilewright
from tests.targets.gpu import needs_opencl
from tests.targets.oclgrind import simulate
from tests.targets.schedules.compressed_layers import (
    activations,
    assert_close,
    bytes_of,
    integers,
    matrix,
    packed,
    product,
    product_reference,
)
from tilewright.formats.packed import PackedWeight, unpack
from tilewright.runtime import Session
from tilewright.targets import resolve
from tilewright.targets.schedules.gpu_common import GpuLimits
from tilewright.targets.schedules.gpu_product import Product
from tilewright.targets.schedules.gpu_words import Words

DEVICE = "mali-g78"  # whose drivers have the instruction; here plain integer arithmetic stands for it
SIDES = st.sampled_from([1, 2, 4, 8, 16])


def check(weight: PackedWeight, lead: tuple[int, ...], kind: str, device: str = DEVICE) -> list[str]:
    """Compares the integers behind the result and gives the kernels of a run.

    With 2**21 as the greatest integer, four roundings of the float that it becomes are less than half of one.
    """
    artifact = tilewright.compile(product(weight, lead, activation=None, quantized=kind), device)
    x = activations(*lead, weight.shape[1])
    q, scale, zero = bytes_of(x, kind == "dynamic")
    wanted = (q.astype(np.int64) - zero) @ unpack(weight).astype(np.int64).T
    assert np.abs(wanted).max(initial=0) < 2**21
    with Session(artifact.to_bytes()) as session:
        got = session.run({"x": x})["y"]
    bias = activations(weight.shape[0], seed=2)
    exact = wanted * np.float64(scale) + bias
    np.testing.assert_array_less(
        np.abs(got - exact), np.broadcast_to(0.25 * scale + 2.0**-22 * np.abs(bias), got.shape)
    )
    return [launch.kernel for launch in artifact.plan.launches]


# PoCL takes a second or more to compile one example.
@settings(max_examples=3, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    bits=st.integers(2, 8),
    block=st.one_of(st.none(), st.tuples(SIDES, SIDES)),
    group=st.booleans(),
    outputs=st.integers(1, 60),
    depth=st.integers(1, 90),
    lead=st.sampled_from([(1,), (3,), (2, 5)]),
    kind=st.sampled_from(["static", "dynamic"]),
)
def test_integers_are_exact(
    bits: int, block: tuple[int, int] | None, group: bool, outputs: int, depth: int, lead: tuple[int, ...], kind: str
) -> None:
    needs_opencl()
    layout = "block_sparse({},{})".format(*block) if block else "dense"
    codec = f"int{bits}(group=32)" if group else f"int{bits}"
    weight = packed(integers(outputs, depth, bits), f"{layout} {codec}", 0.4)
    kernels = check(weight, lead, kind)
    few = block is not None or depth < 32  # padding, or few blocks to drop
    assert few or any("compressed" in kernel for kernel in kernels)


@pytest.mark.parametrize("spec", ["int8", "int3", "block_sparse(16,4) int4"])
def test_work_items_that_run_one_after_another(spec: str) -> None:
    """They read several streams of long rows, and have more outputs each."""
    needs_opencl()
    bits = int(spec[-1])
    check(packed(integers(40, 512, bits), spec, 0.25), (1,), "dynamic", "mali-pocl")


@pytest.mark.parametrize("spec", ["int8", "block_sparse(4,4) int4"])
@pytest.mark.parametrize("kind", ["static", "dynamic"])
def test_bytes_stay_bytes_and_the_epilogue_is_in_the_kernel(spec: str, kind: str) -> None:
    weight = packed(integers(64, 96, 4 if "4)" in spec else 8), spec, 0.25)
    artifact = tilewright.compile(product(weight, (1,), quantized=kind), DEVICE)
    *_, last = artifact.plan.launches
    dtypes = [artifact.plan.buffers[arg].dtype for arg in last.args]
    assert "compressed" in last.kernel
    assert "uint8" in dtypes
    assert len(artifact.plan.launches) == 2, [launch.kernel for launch in artifact.plan.launches]


def test_without_the_instruction_many_rows_are_multiplied_as_floats() -> None:
    weight = packed(matrix(32, 64), "int8")
    for lead, device, byte in (((1,), "mali-g72", True), ((8,), "mali-g72", False), ((8,), DEVICE, True)):
        plan = tilewright.compile(product(weight, lead, quantized="static"), device).plan
        (launch,) = (launch for launch in plan.launches if "compressed" in launch.kernel)
        assert ("uint8" in [plan.buffers[arg].dtype for arg in launch.args]) == byte


@given(
    bits=st.sampled_from([2, 3, 4, 5, 6, 7, 8, 16, 32]),
    rows=st.sampled_from([1, 2, 4]),
    bw=st.sampled_from([0, 1, 4, 16]),
    zeros=st.booleans(),
    activations=st.integers(1, 64),
    dtype=st.sampled_from(["float32", "uint8"]),
)
def test_tiles_fit_into_registers(bits: int, rows: int, bw: int, zeros: bool, activations: int, dtype: str) -> None:
    """By the estimate that ``python -m benchmarks.mali_isa --layers`` found to leave no kernel with spills."""
    limits = GpuLimits.of(resolve("mali-g57").device.facts)
    words = Words(64, 128, bits, zeros, rows, 4, rows if bw else 0, bw, zeros=zeros and bits <= 8)
    layer = Product(words, (activations, 128), dtype).tiled(limits)
    assert 1 <= layer.tile <= activations
    assert layer.tile == 1 or layer.registers < limits.registers


def test_words_of_many_planes_leave_registers_for_fewer_rows() -> None:
    limits = GpuLimits.of(resolve("mali-g57").device.facts)
    tiles = {
        bits: Product(Words(64, 128, bits, False, 4, 4), (8, 128), "uint8").tiled(limits).tile for bits in (4, 5, 7)
    }
    assert tiles == {4: 4, 5: 2, 7: 1}


def test_oclgrind_finds_no_race_and_no_bad_access(tmp_path: Path) -> None:
    weight, x = packed(matrix(21, 70), "block_sparse(4,2) int5", 0.3), activations(2, 70)
    got = simulate(tilewright.compile(product(weight, (2,), quantized="static"), DEVICE), {"x": x}, tmp_path)
    q, scale, zero = bytes_of(x, dynamic=False)
    assert_close(got["y"], product_reference(weight, (q.astype(np.float32) - zero) * scale))
