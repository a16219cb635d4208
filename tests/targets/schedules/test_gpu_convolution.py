"""Convolutions of bytes by compressed weights on PoCL: their integers are exactly NumPy's."""

from __future__ import annotations

import numpy as np
import pytest

import tilewright
from tests.targets.gpu import needs_opencl
from tests.targets.schedules.compressed_layers import (
    Conv,
    activations,
    bytes_of,
    convolution,
    convolution_reference,
    integers,
    packed,
)
from tilewright.formats.packed import PackedWeight
from tilewright.runtime import Session
from tilewright.targets import resolve
from tilewright.targets.schedules.gpu_common import GpuLimits
from tilewright.targets.schedules.gpu_convolution import outputs_for
from tilewright.targets.schedules.gpu_words import Words

DEVICE = "mali-g78"  # whose drivers have the instruction; here plain integer arithmetic stands for it


def check(weight: PackedWeight, conv: Conv, kind: str) -> bool:
    """Compares; whether the kernel read words of four channels.

    Integers times the scale, less what bias and residual are rounded by, differ from each other by a whole scale.
    """
    artifact = tilewright.compile(convolution(weight, conv, kind), DEVICE)
    x, residual = activations(*conv.x), activations(conv.batch, weight.shape[0], *conv.out, seed=3)
    q, scale, zero = bytes_of(x, kind == "dynamic")
    bytes_back = (q.astype(np.float64) - zero) * scale
    wanted, size = convolution_reference(weight, conv, bytes_back, residual)
    assert size.max() < 2**21 * scale
    with Session(artifact.to_bytes()) as session:
        got = session.run({"x": x, "r": residual})["y"]
    assert np.abs(got - wanted).max() < 0.25 * scale + 2.0**-21
    kernels = [launch.kernel for launch in artifact.plan.launches]
    assert any("compressed_conv" in kernel for kernel in kernels)
    return any("words" in kernel for kernel in kernels)


CASES = {
    "dense int8, odd channels": ("int8", Conv(30, (5, 7)), "static"),
    "dense int3, large image": ("int3", Conv(16, (12, 12)), "dynamic"),
    "sparse int4": ("block_sparse(8,4) int4", Conv(24, (6, 8), stride=2, batch=2), "static"),
    "sparse int6 of taps, padded": ("block_sparse(4,8) int6", Conv(16, (7, 6), (3, 3), padding=1), "dynamic"),
}


@pytest.mark.parametrize("name", CASES)
def test_integers_are_exact(name: str) -> None:
    needs_opencl()
    spec, conv, kind = CASES[name]
    bits = int(spec[-1])
    assert check(packed(integers(18, conv.depth, bits), spec, 0.3), conv, kind)


@pytest.mark.parametrize("spec", ["block_sparse(4,2) int8", "block_sparse(4,4) int8(group=16)"])
def test_narrow_blocks_and_groups_are_multiplied_as_floats(spec: str) -> None:
    needs_opencl()
    assert not check(packed(integers(8, 32, 8), spec, 0.3), Conv(32, (4, 4)), "static")


def test_words_of_many_planes_leave_registers_for_fewer_outputs() -> None:
    """Bytes count one by one, as drivers without an instruction for dot products have them."""
    limits = GpuLimits.of(resolve("mali-g57").device.facts)
    words = {bits: Words(64, 128, bits, False, 4, 1, 4, 4) for bits in (2, 3, 4, 5, 6, 7, 8)}
    assert {bits: outputs_for(w, True, limits) for bits, w in words.items()} == {
        2: 4,
        3: 2,
        4: 4,
        5: 2,
        6: 2,
        7: 2,
        8: 4,
    }
    assert {bits for bits, w in words.items() if outputs_for(w, False, limits) < 4} == {7}
    assert outputs_for(words[7], True, GpuLimits.of(resolve("jetson-orin").device.facts)) == 4
