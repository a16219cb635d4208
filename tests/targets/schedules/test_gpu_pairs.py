"""Products in half precision: numbers of the CUDA source run as C++, range and error, and what ptxas says."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tilewright
from tests.targets.cuda import cuda_sources, emulated
from tests.targets.gpu import needs_nvrtc
from tests.targets.schedules.compressed_layers import Array, activations, matrix, packed, product, product_reference
from tilewright.formats.packed import PackedWeight
from tilewright.targets import device_facts, resolve
from tilewright.targets.nvrtc import kernel_resources
from tilewright.targets.schedules.gpu_common import GpuLimits
from tilewright.targets.schedules.gpu_pairs import CUDA, RUN, normalised, pays

sources = cuda_sources
HALF = 2.0**-11


def run(sources: list[str], weight: PackedWeight, x: Array) -> tuple[Array, str]:
    """What the CUDA source computes, and the source."""
    sources.clear()
    plan = tilewright.compile(product(weight, x.shape[:-1]), resolve("jetson-orin", "fp16")).plan
    with tempfile.TemporaryDirectory() as folder:
        return emulated(plan, sources[0], x, Path(folder)), sources[0]


def assert_close(got: Array, wanted: tuple[Array, Array]) -> None:
    """RUN products, rounded weights, activations and results: each is off by HALF of the sum of magnitudes."""
    value, size = wanted
    np.testing.assert_array_less(np.abs(got - value), (RUN + 4) * HALF * size + 1e-4)


@pytest.mark.parametrize(
    ("spec", "shape", "rows"),
    [
        ("dense f16", (21, 70), 3),
        ("block_sparse(4,4) int4", (13, 90), 1),
        ("block_sparse(16,1) int4(group=32)", (32, 70), 2),
        ("block_sparse(4,2) int4(group=32,asymmetric)", (6, 130), 1),
    ],
)
def test_equals_numpy(sources: list[str], spec: str, shape: tuple[int, int], rows: int) -> None:
    weight, x = packed(matrix(*shape), spec, 0.5), activations(rows, shape[1])
    got, source = run(sources, weight, x)
    assert CUDA in source
    assert_close(got, product_reference(weight, x))


@pytest.mark.parametrize("codec", ["f16", "int4", "int4(asymmetric)"])
def test_multiplies_in_pairs(sources: list[str], codec: str) -> None:
    weight, x = packed(matrix(20, 64), codec), activations(1, 64)
    got, source = run(sources, weight, x)
    assert CUDA in source
    assert source.count("pair_fma4(") > CUDA.count("pair_fma4(")
    assert_close(got, product_reference(weight, x))


def test_activations_within_the_bound_do_not_overflow(sources: list[str]) -> None:
    """RUN products of 1 and 4000 come to 64000; two halves and four runs of them cancel in the float32 sum, which takes
    what int4 makes of 1."""
    signs = np.repeat(np.array([1, -1, 1, -1], np.float32), 32)[None]
    weight, x = packed(np.repeat(signs, 4, axis=0), "int4"), np.full((1, 128), 4000, np.float32)
    got, _ = run(sources, weight, x)
    assert_close(got, product_reference(weight, x))
    assert np.isfinite(got).all()


def test_who_multiplies_in_pairs() -> None:
    for device, wanted in {"jetson-nano": True, "jetson-orin": True, "mali-g52": False, "mali-pocl": False}.items():
        limits = GpuLimits.of(device_facts(device))
        assert pays(16, False, "float16", limits) is wanted
        assert not pays(32, False, "float16", limits)
        assert pays(4, False, "float16", limits) is wanted
        assert not pays(8, False, "float16", limits)
        assert not pays(4, True, "float16", limits)
        assert not pays(4, False, "float32", limits)


@given(st.lists(st.floats(-60000, 60000, width=16), min_size=1))
def test_halves_are_scaled_exactly_to_one_at_most(values: list[float]) -> None:
    """Exactly, but for what is less than 2^-24 of the largest."""
    halves = np.array(values, np.float16)
    scaled, power = normalised(halves)
    assert np.abs(scaled).max() <= 1
    error = np.abs(scaled.astype(np.float64) * power - halves.astype(np.float64))
    assert error.max() <= 2.0**-24 * np.abs(halves.astype(np.float64)).max()


@pytest.mark.parametrize("codec", ["f16", "int4(group=32,asymmetric)"])
def test_ptxas_spills_nothing(codec: str) -> None:
    needs_nvrtc()
    for device in ("jetson-nano", "jetson-tx2", "jetson-xavier", "jetson-orin"):
        (arch,) = device_facts(device)["archs"]
        model = product(packed(matrix(64, 256), codec), (4,))
        ((module,),) = (tilewright.compile(model, resolve(device, "fp16")).plan.modules,)
        ptx = next(image.data for image in module.images if image.kind == "ptx")
        assert b"fma.rn.f16x2" in ptx
        assert not any(used.spill_bytes or used.stack_bytes for used in kernel_resources(ptx, arch).values())
