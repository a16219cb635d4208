"""Weights as images: which loads can be texels, numbers on PoCL, and what a device without such images runs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import tilewright
from tests.targets.gpu import needs_opencl
from tests.targets.schedules.compressed_layers import (
    Array,
    activations,
    assert_close,
    matrix,
    packed,
    product,
    product_reference,
)
from tilewright.artifact import Artifact
from tilewright.errors import DeviceError
from tilewright.formats.packed import PackedWeight
from tilewright.plan import Image, Plan
from tilewright.runtime import Session
from tilewright.targets import resolve
from tilewright.targets.mali_images import with_images

TARGET = "mali-g52:weight_images=65536"
SPECS = ["int4", "block_sparse(16,1) f32", "block_sparse(4,4) f16"]


def compiled(weight: PackedWeight, target: str = TARGET, precision: str = "fp32") -> Artifact:
    return tilewright.compile(product(weight, (1,)), resolve(target, precision))


def with_code(plan: Plan, *images: Image) -> Plan:
    return replace(plan, modules=(replace(plan.modules[0], images=images),))


def run(plan: Plan, x: Array) -> Array:
    with Session(Artifact(plan, {}).to_bytes()) as session:
        return np.array(session.run({"x": x})["y"])


@pytest.mark.parametrize("spec", SPECS)
def test_both_programs_compute_the_same(spec: str) -> None:
    """Equal to the last bit: only where words come from differs. Against NumPy as for any product."""
    needs_opencl()
    weight, x = packed(matrix(80, 96), spec, 0.25), activations(1, 96)
    plan = compiled(weight).plan
    images, buffers = plan.modules[0].images
    assert b"read_image" in images.data
    assert b"read_image" not in buffers.data
    assert [buffer.name for buffer in plan.buffers if buffer.texel_buffer] == ["w.values"]
    got = run(with_code(plan, images), x)
    assert_close(got, product_reference(weight, x))
    np.testing.assert_array_equal(got, run(with_code(plan, buffers), x))


def test_a_device_of_smaller_images_runs_the_program_of_buffers() -> None:
    needs_opencl()
    weight, x = packed(matrix(80, 96), "int4"), activations(1, 96)
    plan = compiled(weight).plan
    images, buffers = plan.modules[0].images
    huge = replace(images, features=(f"texels:{1 << 60}",))
    assert_close(run(with_code(plan, huge, buffers), x), product_reference(weight, x))
    with pytest.raises(DeviceError, match=f"texels:{1 << 60}"):
        run(with_code(plan, huge), x)


def test_weights_beyond_the_limit_stay_buffers() -> None:
    weight = packed(matrix(80, 96), "int4")
    plan = compiled(weight, "mali-g52").plan
    (code,) = plan.modules[0].images
    (texels,) = (buffer.texels for buffer in plan.buffers if buffer.name == "w.values")
    assert with_images(plan, texels - 1).modules[0].images == (code,)
    assert with_images(plan, texels).modules[0].images[0].features == (f"texels:{texels}",)


def test_halves_need_their_extension_only_where_they_are_computed_with() -> None:
    weight = packed(matrix(80, 96), "f16")
    codes = (compiled(weight, TARGET, precision).plan.modules[0].images[0] for precision in ("fp32", "fp16"))
    widened, computed = codes
    assert b"read_imagef" in widened.data
    assert "cl_khr_fp16" not in widened.features
    assert "cl_khr_fp16" in computed.features


def test_a_kernel_that_is_also_given_activations_keeps_buffers() -> None:
    """The weight, and the same kernel launched on the network's input in its place."""
    plan = compiled(packed(matrix(80, 96), "block_sparse(16,1) f32", 0.25), "mali-g52").plan
    (launch,) = plan.launches
    weight = next(index for index, buffer in enumerate(plan.buffers) if buffer.name == "w.values")
    other = tuple(plan.inputs[0] if arg == weight else arg for arg in launch.args)
    shared = replace(plan, launches=(launch, replace(launch, args=other)))
    assert with_images(plan, 65536) != plan
    assert with_images(shared, 65536) == shared
