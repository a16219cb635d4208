"""Layers with ASTC weights through the whole compiler: NumPy's answer, and reasons where there is no kernel."""

from __future__ import annotations

from typing import Any

import numpy.typing as npt
import onnx_ir as ir
import pytest

import tilewright
from tests.targets.running import levels_here
from tests.targets.schedules.compressed_layers import (
    Conv,
    activations,
    assert_close,
    convolution,
    convolution_reference,
    matrix,
    packed,
    product,
    product_reference,
)
from tilewright.artifact import Artifact
from tilewright.formats.codecs.astc.codec import Astc
from tilewright.runtime import Session
from tilewright.targets import resolve
from tilewright.targets.schedules.cpu_astc import AstcLayer
from tilewright.targets.schedules.cpu_astc_blocks import AstcBlocks
from tilewright.targets.schedules.cpu_astc_layers import slower
from tilewright.targets.schedules.cpu_tile import Core

Array = npt.NDArray[Any]


def kernels(artifact: Artifact) -> list[str]:
    return [launch.kernel for launch in artifact.plan.launches if launch.kernel.startswith("astc")]


def check(model: ir.Model, target: str, inputs: dict[str, Array], wanted: tuple[Array, Array]) -> Artifact:
    artifact = tilewright.compile(model, target)
    with Session(artifact.to_bytes()) as session:
        got = session.run(inputs)["y"]
    assert got.shape == wanted[0].shape
    assert_close(got, wanted)
    return artifact


def test_products() -> None:
    """With bias, residual and activation in the kernel, and nothing beside it."""
    target = levels_here()[-1]
    weight, x, residual = packed(matrix(160, 70), "astc(6,6)"), activations(2, 70), activations(2, 160, seed=3)
    wanted = product_reference(weight, x, residual)
    artifact = check(product(weight, (2,), residual=True), target, {"x": x, "r": residual}, wanted)
    assert kernels(artifact) == [launch.kernel for launch in artifact.plan.launches]
    assert not artifact.plan.unpacked
    assert not artifact.plan.prologue


def test_products_of_many_rows() -> None:
    weight, x = packed(matrix(1100, 500), "astc(6,6)"), activations(20, 500)
    artifact = check(product(weight, (20,)), "cpu-avx2", {"x": x}, product_reference(weight, x))
    assert kernels(artifact)


def test_activations_are_not_quantized_for_it() -> None:
    """Bytes are there, but there is nothing to multiply them with: the kernel reads what they stand for."""
    weight = packed(matrix(160, 70), "astc(6,6)")
    artifact = tilewright.compile(product(weight, (1,), quantized="static"), levels_here()[-1])
    assert kernels(artifact)


@pytest.mark.parametrize("conv", [Conv(9, (2, 1), (3, 3), padding=1), Conv(16, (5, 3), (3, 2), 2), Conv(70, (2, 1))])
def test_convolutions(conv: Conv) -> None:
    weight, x = packed(matrix(160, conv.depth), "astc(6,6)"), activations(*conv.x)
    residual = activations(1, 160, *conv.out, seed=3)
    wanted = convolution_reference(weight, conv, x, residual)
    artifact = check(convolution(weight, conv), levels_here()[0], {"x": x, "r": residual}, wanted)
    assert kernels(artifact)
    assert not artifact.plan.unpacked


SPARSE = ["block_sparse(16,4) astc(6,6)", "block_sparse(4,2) astc(8,5)", "block_sparse(16,1) astc(5,5,astcenc=10)"]


@pytest.mark.parametrize("spec", SPARSE)
@pytest.mark.parametrize("rows", [1, 40])
def test_products_of_sparse_blocks(spec: str, rows: int) -> None:
    """Blocks are decoded at load, into the order of the kernel, which skips what was dropped."""
    weight, x = packed(matrix(90, 72), spec, 0.25), activations(rows, 72)
    artifact = check(product(weight, (rows,)), levels_here()[-1], {"x": x}, product_reference(weight, x))
    assert any("compressed" in launch.kernel or "planar" in launch.kernel for launch in artifact.plan.launches)
    assert not artifact.plan.unpacked


@pytest.mark.parametrize("conv", [Conv(32, (6, 9)), Conv(16, (7, 6), (3, 3), padding=1), Conv(16, (7, 6), (3, 3), 2)])
def test_convolutions_of_sparse_blocks(conv: Conv) -> None:
    weight, x = packed(matrix(40, conv.depth), SPARSE[0], 0.25), activations(*conv.x)
    residual = activations(1, 40, *conv.out, seed=3)
    wanted = convolution_reference(weight, conv, x, residual)
    artifact = check(convolution(weight, conv), levels_here()[-1], {"x": x, "r": residual}, wanted)
    assert any("compressed" in launch.kernel or "planar" in launch.kernel for launch in artifact.plan.launches)
    assert not artifact.plan.unpacked


def test_sparse_blocks_stay_blocks_in_the_file() -> None:
    weight = packed(matrix(192, 240), "block_sparse(16,4) astc(6,6)", 0.25)
    constants = tilewright.compile(product(weight, (1,)), "cpu-avx512").sizes().constants
    stored = sum(size for name, size in constants.items() if name.startswith("w."))
    assert stored < 16 * 32 * 10 + 2048  # blocks, and at most that for index and scales; floats would be 46080


def test_the_file_holds_no_more_than_the_format() -> None:
    weight = packed(matrix(300, 200), "astc(6,6)")
    artifact = tilewright.compile(product(weight, (1,)), "cpu-avx512")
    (size,) = (size for name, size in artifact.sizes().constants.items() if name.endswith(".blocks"))
    assert size <= 16 * 50 * 34 + 64  # and at most a register unused


@pytest.mark.parametrize(
    ("spec", "rows", "target", "reason"),
    [
        ("astc(6,6)", 64, "cpu-avx512", "unpacked weights are as fast"),
        ("astc(6,6)", 1, "cpu-neon", "decoding ASTC blocks costs more"),
    ],
)
def test_refusals_say_why(spec: str, rows: int, target: str, reason: str) -> None:
    artifact = tilewright.compile(product(packed(matrix(96, 36), spec, 0.5), (rows,)), target)
    assert not kernels(artifact)
    (found,) = artifact.plan.unpacked.values()
    assert reason in found


@pytest.mark.parametrize("target", ["cpu-avx2", "cpu-avx512"])
def test_more_pays_the_further_away_weights_are(target: str) -> None:
    """What pays from the last cache pays from memory; and rows never make decoding pay that did not for one."""
    device = resolve(target).device
    core = Core.of(device)
    for codec in (Astc(4, 4), Astc(5, 5), Astc(6, 6), Astc(10, 6), Astc(12, 12)):
        for outputs in (10, 100, 4096):
            blocks = AstcBlocks.of(codec, (outputs, 4096), core.lanes)
            assert blocks is not None
            one, many = (AstcLayer(blocks, (rows, 4096)).tiled(core) for rows in (1, 64))
            near, far = (slower(one, nbytes, device) for nbytes in (core.l3_bytes, core.l3_bytes + 1))
            assert near or not far
            assert slower(many, core.l3_bytes, device) or not near
