"""Formats into kernel order: the kernel's matrix is what the reference decoder says, to the bit; refusals say why."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.targets.schedules.packed import unpacked
from tilewright.formats.packed import expand, pack, unpack
from tilewright.formats.storage.entropy import Entropy
from tilewright.plan import PackedParameter
from tilewright.targets import resolve
from tilewright.targets.packed_weights import CompressedWeight, Unpack
from tilewright.targets.schedules.cpu_kernel_weights import KernelWeights, kernel_weights

Array = npt.NDArray[Any]


def weight(matrix: Array, spec: str, density: float | None = None, taps: int = 1) -> tuple[CompressedWeight, Array]:
    """A compressed matrix as a target meets it, and what it decodes to."""
    packed = pack(matrix, spec, density)
    index, encoded = expand(packed)
    arrays = {role: array.ravel() for role, array in {**index, **encoded.arrays}.items()}
    split = (matrix.shape[0], taps, matrix.shape[1] // taps)
    form = packed.format, tuple(arrays), packed.shape, packed.payload_shape, split, (0, 1, 2), matrix.shape
    unpacking = Unpack(*form, "w")
    source = {role: PackedParameter(f"w.{role}", array) for role, array in arrays.items()}
    return CompressedWeight(unpacking, arrays, source), unpack(packed)


def kernels(
    found: CompressedWeight, device: str, integer: bool = True, rows: int = 1, taps: int = 1
) -> tuple[KernelWeights, ...] | str:
    return kernel_weights(found, integer, rows, resolve(device).device, taps)


def kernel(
    found: CompressedWeight, device: str, integer: bool = True, rows: int = 1, taps: int = 1
) -> KernelWeights | str:
    """Where there is one for all rows."""
    made = kernels(found, device, integer, rows, taps)
    if isinstance(made, str):
        return made
    (single,) = made
    return single


def of_outputs(made: KernelWeights, role: str) -> Array:
    """Scales or zero points by stored column, [outputs, columns or 1]."""
    b, packed = made.blocks, made.arrays[role]
    flat = packed.transpose(0, 2, 1).reshape(-1, packed.shape[1])[: b.outputs]
    return np.repeat(flat, b.group * b.across, axis=1)[:, : b.k * b.across] if b.group else flat


def integers(made: KernelWeights) -> Array:
    """The matrix as the kernel multiplies it, before scales, [outputs, columns]; columns of each tap are padded."""
    b = made.blocks
    values = unpacked(b, made.arrays["values"])[: b.outputs].astype(np.float64)
    values = made.arrays["centroids"][values.astype(int)] if b.centroids else values * b.gain
    if b.asymmetric:
        values = values - of_outputs(made, "zeros")
    if b.kept:
        pairs = made.arrays["places"].transpose(0, 2, 1).reshape(-1, made.arrays["places"].shape[1])
        codes = np.stack([pairs & 15, pairs >> 4], axis=2).reshape(len(pairs), -1)[: b.outputs, : b.k]
        fours = np.zeros((b.outputs, b.k, 4))
        np.put_along_axis(fours, np.stack([codes & 3, codes >> 2], 2).astype(int), values.reshape(-1, b.k, 2), 2)
        values = fours.reshape(b.outputs, -1)
    if "index" not in made.arrays:
        return values
    dense = np.zeros((b.outputs, -(-b.depth // b.bw) * b.bw))
    for row in range(b.outputs):
        for place, column in enumerate(made.arrays["index"][row // b.bh]):
            dense[row, column * b.bw : (column + 1) * b.bw] = values[row, place * b.bw : (place + 1) * b.bw]
    return dense


def floats(made: KernelWeights) -> Array:
    """The same with all scales. Gains are powers of two, so that float32 products round as the decoder's do."""
    b, matrix = made.blocks, integers(made)
    if not b.group:
        return (matrix.T.astype(np.float32) * made.factor).T
    assert "index" not in made.arrays, "groups of sparse weights follow the kept blocks"
    spread = of_outputs(made, "scales").astype(np.float32)
    spread = np.repeat(spread, 2, axis=1) if b.kept else spread  # two stored columns of four
    return matrix.astype(np.float32) * spread * made.factor


CODECS = [
    "f16", *(f"int{bits}" for bits in range(2, 9)), "int8(per=tensor)", "int4(per=tensor)",
    "int8(asymmetric)", "int5(asymmetric)", "int4(per=tensor,asymmetric)",
    "codebook(2)", "codebook(16)", "codebook(20,scaled)", "codebook(256)", "vbd(4)", "vbd(6.5)", "vbd(7,per=tensor)",
]  # fmt: skip
GROUPED = [
    "int4(group=32)",
    "int4(group=16,scale=f16)",
    "int8(group=16)",
    "int3(group=32)",
    "int4(group=32,asymmetric)",
]


@st.composite
def weights(draw: st.DrawFn) -> tuple[Array, str, float | None]:
    codec = draw(st.sampled_from(CODECS))
    layout = draw(st.sampled_from(["", "two_four", "block_sparse"]))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    matrix = rng.standard_normal((draw(st.integers(1, 50)), draw(st.integers(8, 90)))).astype(np.float32)
    matrix *= np.exp2(rng.integers(-6, 2, (len(matrix), 1))).astype(np.float32)  # rows of several depths
    matrix[rng.random(len(matrix)) < 0.1] = 0
    if layout != "block_sparse":
        codec = draw(st.sampled_from([codec, *GROUPED]))
        return matrix, f"{layout} {codec}", 0.5 if layout else None
    block = draw(st.sampled_from(["16,4", "4,4", "8,8", "16,1", "1,16", "32,4"]))
    return matrix, f"block_sparse({block}) {codec}", draw(st.sampled_from([0.05, 0.2, 0.4]))


@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(weights(), st.sampled_from(["cpu-avx2", "cpu-avx512", "cpu-vnni", "cpu-dotprod", "cpu-neon"]), st.booleans())
def test_the_kernels_matrix_is_the_decoded_one(
    case: tuple[Array, str, float | None], device: str, integer: bool
) -> None:
    matrix, spec, density = case
    found, decoded = weight(matrix, spec, density)
    made = kernels(found, device, integer)
    if isinstance(made, str):
        assert made
        return
    left = np.ones(len(decoded), bool)
    for part in made:
        got = floats(part)
        np.testing.assert_array_equal(got[:, : decoded.shape[1]], decoded[part.outputs])
        assert part.blocks.centroids or not got[:, decoded.shape[1] :].any()
        assert part.blocks.word == 1 or integer
        assert left[part.outputs].all()
        left[part.outputs] = False
        if part.blocks.word == 4:
            check_sums(part, got)
    assert not decoded[left].any()


def check_sums(made: KernelWeights, matrix: Array) -> None:
    """Sums serve to subtract zero points of activations: exact for integers, rounded once to float32 for groups."""
    if not made.blocks.group:
        np.testing.assert_array_equal(made.sums, integers(made).sum(axis=1))
        return
    sums = matrix.sum(axis=1, dtype=np.float64) / made.factor
    bound = 1e-6 * np.abs(matrix / made.factor).sum(axis=1).max()
    np.testing.assert_allclose(made.sums, sums, rtol=0, atol=bound)


@pytest.mark.parametrize("channels", [3, 4, 6])
def test_taps_of_a_convolution_are_padded_apart(channels: int) -> None:
    matrix = np.random.default_rng(0).standard_normal((20, 9 * channels)).astype(np.float32)
    found, decoded = weight(matrix, "int8", taps=9)
    made = kernel(found, "cpu-avx2", rows=100, taps=9)
    assert isinstance(made, KernelWeights)
    padded = -(-channels // 4) * 4
    got = floats(made).reshape(20, 9, padded)
    np.testing.assert_array_equal(got[:, :, :channels], decoded.reshape(20, 9, channels))
    assert not got[:, :, channels:].any()


def test_sizes_are_those_of_the_bits() -> None:
    """Whole blocks and units: the packed weight takes what its format says, and no more."""
    matrix = np.random.default_rng(0).standard_normal((64, 256)).astype(np.float32)
    for spec, values in (
        ("int8", 64 * 256),
        ("int4", 64 * 128),
        ("int3", 64 * 96),
        ("block_sparse(16,4) int4", 4 * 14 * 32),
    ):
        found, _ = weight(matrix, spec, 0.2 if "sparse" in spec else None)
        made = kernel(found, "cpu-vnni")
        assert isinstance(made, KernelWeights)
        assert made.arrays["values"].nbytes <= values + 64


@pytest.mark.parametrize("bits", range(2, 9))
@pytest.mark.parametrize("layout", ["", "block_sparse(16,4)"])
def test_entropy_coding_pays_in_kernel_order(layout: str, bits: int) -> None:
    """Of bell-shaped weights, as in the format's own order; bytes of several planes coded together cost up to 7 %."""
    matrix = np.random.default_rng(0).standard_normal((96, 1024)).astype(np.float32)
    found, _ = weight(matrix, f"{layout} int{bits}", 0.25 if layout else None)
    made = kernel(found, "cpu-vnni")
    assert isinstance(made, KernelWeights)
    values = made.arrays["values"]
    coded = len(Entropy().compress(values, made.symbol_bits["values"]))
    assert coded < values.nbytes
    assert coded <= 1.07 * len(Entropy().compress(found.arrays["values"], bits))


@pytest.mark.parametrize("outputs", [1, 10, 16, 96, 100, 1000])
def test_dense_outputs_are_padded_by_less_than_a_vector(outputs: int) -> None:
    matrix = np.random.default_rng(0).standard_normal((outputs, 64)).astype(np.float32)
    made = kernel(weight(matrix, "int8")[0], "cpu-vnni")
    assert isinstance(made, KernelWeights)
    assert len(made.arrays["values"]) * made.blocks.bh - outputs < 16


@pytest.mark.parametrize(
    ("spec", "density", "integer", "rows", "taps", "reason"),
    [
        ("astc(6,6)", None, True, 1, 1, "no kernel reads astc"),
        ("codebook(256)", None, False, 8, 1, "unpacked weights are as fast"),
        ("two_four f16", None, False, 8, 1, "unpacked weights are as fast"),
        ("two_four int8", None, True, 100, 8, "do not fit the taps"),
        ("f32", None, True, 1, 1, "unpacked weights are as fast"),
        ("int8", None, False, 100, 1, "unpacked weights are as fast"),
        ("block_sparse(1,1) int8", 0.1, True, 1, 1, "fill no vector"),
        ("block_sparse(4,4) int8", 1.0, False, 100, 1, "sparse slower"),
        ("block_sparse(4,4) f32", 1.0, False, 1, 1, "sparse slower"),
        ("block_sparse(4,16) int8", 0.1, True, 1, 8, "do not divide"),
        ("int4(group=32)", None, True, 1, 8, "do not fit the taps"),
    ],
)
def test_refusals_say_why(spec: str, density: float | None, integer: bool, rows: int, taps: int, reason: str) -> None:
    matrix = np.random.default_rng(0).standard_normal((32, 8 * 9)).astype(np.float32)
    if "two_four" in spec:
        density = 0.5
    found, _ = weight(matrix, spec, density, taps)
    made = kernel(found, "cpu-avx512", integer, rows, taps)
    assert isinstance(made, str)
    assert reason in made


@pytest.mark.parametrize(("density", "speedup", "sparse"), [(0.5, 1.0, True), (0.5, 2.5, False), (0.1, 2.5, True)])
def test_fewer_blocks_pay_where_the_dense_kernel_multiplies_less(density: float, speedup: float, sparse: bool) -> None:
    matrix = np.random.default_rng(0).standard_normal((64, 9 * 64)).astype(np.float32)
    found, _ = weight(matrix, "block_sparse(16,1) f32", density, 9)
    made = kernel_weights(found, False, 3136, resolve("cpu-avx512").device, 9, speedup=speedup)
    assert isinstance(made, str) != sparse


@pytest.mark.parametrize(("centroids", "near"), [(16, True), (64, True), (256, False)])
def test_lookups_pay_where_reading_takes_longer(centroids: int, near: bool) -> None:
    """Large tables are gathered, which takes longer than reading unpacked weights that are still in the last cache."""
    found, _ = weight(np.random.default_rng(0).standard_normal((32, 64)).astype(np.float32), f"codebook({centroids})")
    device = resolve("cpu-avx512").device
    last = device.facts["l3_bytes"]
    assert isinstance(kernel_weights(found, False, 1, device), str) != near
    assert isinstance(kernel_weights(found, False, 1, device, unpacked_bytes=last), str) != near
    assert not isinstance(kernel_weights(found, False, 1, device, unpacked_bytes=last + 1), str)


def test_a_weight_of_zeros_needs_no_kernel() -> None:
    found, _ = weight(np.zeros((20, 16), np.float32), "vbd(4)")
    assert kernels(found, "cpu-avx2") == "all of its rows are zero"
