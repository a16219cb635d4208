"""Uniform quantisation: bytes against a reference written from the docstring, errors against bounds and theory."""

from __future__ import annotations

import dataclasses
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.formats.strategies import Matrix, matrices, normal
from tilewright.errors import ArtifactError, DataError
from tilewright.formats.base import Encoded
from tilewright.formats.codecs.integer import Integer
from tilewright.formats.packed import snr_db


@st.composite
def codecs(draw: st.DrawFn) -> Integer:
    bits, asymmetric, clip = (
        draw(st.integers(2, 8)),
        draw(st.booleans()),
        draw(st.sampled_from(["mse", "minmax"])),
    )
    scale = draw(st.sampled_from(["auto", "f16", "f32"]))
    group = draw(st.sampled_from([0, 16, 24, 32, 128]))
    per = draw(st.sampled_from(["channel", "tensor"])) if not group else "channel"
    return Integer(bits, group, per, asymmetric, scale, clip)


def symbol(data: bytes, bits: int, place: int) -> int:
    """One symbol of a bit stream, read through one large integer."""
    return int.from_bytes(data, "little") >> place * bits & (1 << bits) - 1


def reference(codec: Integer, encoded: Encoded) -> Matrix:
    """Decodes one element at a time, as the docstring of integer.py says."""
    rows, columns = encoded.shape
    values = encoded.arrays["values"].tobytes()
    scales = encoded.arrays["scales"].astype(np.float32).ravel()
    groups = -(-columns // codec.group) if codec.group else 1
    decoded = np.empty((rows, columns), np.float32)
    for row in range(rows):
        for column in range(columns):
            q = symbol(values, codec.bits, row * columns + column)
            place = row * groups + (column // codec.group if codec.group else 0)
            place = 0 if codec.per == "tensor" else place
            if codec.asymmetric:
                q -= symbol(encoded.arrays["zero_points"].tobytes(), codec.bits, place)
            elif q >= 1 << codec.bits - 1:
                q -= 1 << codec.bits
            decoded[row, column] = np.float32(q) * scales[place]
    return decoded


@given(matrices(extreme=False), codecs())
@settings(max_examples=60)
def test_decoding_follows_the_documented_bytes(matrix: Matrix, codec: Integer) -> None:
    matrix = np.ascontiguousarray(matrix[:6, :70])
    matrix[0, 0] += 2  # scales in fp16's range
    encoded = codec.encode(matrix)
    assert encoded.nbytes == codec.packed_bytes(matrix.shape)
    assert np.array_equal(codec.decode(encoded), reference(codec, encoded))


@given(matrices(), codecs())
def test_round_trip_at_any_magnitude(matrix: Matrix, codec: Integer) -> None:
    largest_scale = float(np.abs(matrix).max()) / 2 ** (codec.bits - 1)
    half = codec.scale == "f16" or (codec.scale == "auto" and codec.group > 0)
    if half and largest_scale > 0 and not 2.0**-17 <= largest_scale <= 65504:
        with pytest.raises(DataError, match="use scale=f32"):
            codec.encode(matrix)
        return
    encoded = codec.encode(matrix)
    decoded = codec.decode(encoded)
    assert encoded.nbytes == codec.packed_bytes(matrix.shape)
    assert np.isfinite(decoded).all()
    assert not decoded[matrix == 0].any()  # pruned weights stay pruned
    exact, error = matrix.astype(np.float64), decoded.astype(np.float64) - matrix
    # Rounding to zero is always within reach; 1e-5 for sums in float32.
    assert (error**2).sum() <= (exact**2).sum() * (1 + 1e-5)


@given(matrices(extreme=False), st.integers(2, 8), st.sampled_from([0, 32]), st.booleans())
def test_whole_ranges_are_within_a_step(matrix: Matrix, bits: int, group: int, asymmetric: bool) -> None:
    codec = Integer(bits, group, asymmetric=asymmetric, scale="f32", clip="minmax")
    encoded = codec.encode(matrix)
    scales = np.abs(codec.integers(encoded)[1])
    spread = np.repeat(scales, group or matrix.shape[1], axis=1)[:, : matrix.shape[1]]
    # Half a step of rounding. The shorter side of signed groups, and a side of ranges whose zero point was rounded,
    # is clipped by at most another half; without groups, symmetric ranges are not clipped. 1e-4 for float32.
    steps = 0.5 if not (asymmetric or group) else 1.0
    assert (np.abs(codec.decode(encoded) - matrix) <= steps * spread * (1 + 1e-4)).all()


@given(matrices(extreme=False), codecs())
def test_clipping_never_costs_accuracy(matrix: Matrix, codec: Integer) -> None:
    matrix[0, 0] += 2  # scales in fp16's range
    clipped, whole = (dataclasses.replace(codec, clip=clip) for clip in ("mse", "minmax"))
    error = [np.square(c.decode(c.encode(matrix)).astype(np.float64) - matrix).sum() for c in (clipped, whole)]
    # One tensor is searched on points that stand for values within 2**-12 of them.
    slack = 1e-6 * np.square(matrix.astype(np.float64)).sum() if codec.per == "tensor" else 0
    assert error[0] <= error[1] * 1.0001 + slack


def best_uniform_db(bits: int) -> float:
    """SNR of the best uniform quantiser of N(0, 1) with a level at zero, by a scan over 20,000 quantiles."""
    inverse = NormalDist().inv_cdf
    x = np.array([inverse((i + 0.5) / 20_000) for i in range(20_000)])
    low, high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    errors = [np.mean((np.clip(np.rint(x / step), low, high) * step - x) ** 2) for step in np.arange(0.2, 1.5, 0.005)]
    return float(10 * np.log10(np.mean(x**2) / np.min(errors)))


@pytest.mark.parametrize(("bits", "expected"), [(2, 8.25), (3, 13.90), (4, 19.25)])
def test_one_scale_reaches_the_best_uniform_quantiser(bits: int, expected: float) -> None:
    assert best_uniform_db(bits) == pytest.approx(expected, abs=0.03)
    matrix = normal((1024, 512))
    codec = Integer(bits, per="tensor")
    # 0.05 dB: the SNR of half a million samples varies by 0.01 dB.
    assert snr_db(matrix, codec.decode(codec.encode(matrix))) == pytest.approx(expected, abs=0.05)


@pytest.mark.parametrize(
    ("codec", "bits_per_weight", "expected"),
    [
        # Recorded from this code; the 3-bit range without clipping compares with 14.3 dB at 3.5 bits a weight for a
        # floating-point minimum in place of an integer zero point.
        (Integer(3, 64, asymmetric=True, clip="minmax"), 3 + 19 / 64, 14.19),
        (Integer(3, 64, asymmetric=True), 3 + 19 / 64, 15.07),
        (Integer(2, 32), 2.5, 9.53),
        (Integer(3, 32), 3.5, 15.77),
        (Integer(4, 32), 4.5, 21.82),
        (Integer(4, 32, asymmetric=True), 4 + 20 / 32, 22.25),
        (Integer(4), 4 + 32 / 1024, 19.34),
        (Integer(8), 8 + 32 / 1024, 42.14),
    ],
    ids=lambda value: value.spec if isinstance(value, Integer) else "",
)
def test_signal_to_noise_on_normal_weights(codec: Integer, bits_per_weight: float, expected: float) -> None:
    matrix = normal((512, 1024))
    encoded = codec.encode(matrix)
    assert encoded.nbytes * 8 / matrix.size == bits_per_weight
    assert snr_db(matrix, codec.decode(encoded)) == pytest.approx(expected, abs=0.08)


@pytest.mark.parametrize("bits", range(2, 9))
def test_constant_groups_are_nearly_exact(bits: int) -> None:
    matrix = np.repeat(np.array([[0.3], [-0.7], [1e-3]], np.float32), 64, axis=1)
    for codec, tolerance in (
        (Integer(bits), 2.0**-22),
        (Integer(bits, 32, scale="f32"), 2.0**-22),
        (Integer(bits, 32), 2.0**-9),
    ):
        assert np.abs(codec.decode(codec.encode(matrix)) / matrix - 1).max() <= tolerance, codec.spec


def test_scales_of_channels_and_tensors_are_not_negative() -> None:
    matrix = np.abs(normal((8, 64)))
    for codec in (Integer(4), Integer(4, per="tensor"), Integer(4, 32, asymmetric=True)):
        assert (codec.encode(matrix).arrays["scales"] >= 0).all()
    assert (Integer(4, 32).encode(matrix).arrays["scales"] < 0).all()


def test_four_and_eight_bits_have_the_bytes_of_onnx() -> None:
    matrix = np.array([[-1.0, 0.25, 0.45, 1.0]], np.float32)
    codec = Integer(8, clip="minmax")
    encoded = codec.encode(matrix)
    assert encoded.arrays["values"].view(np.int8).tolist() == [-127, 32, 57, 127]
    nibbles = Integer(4, clip="minmax").encode(matrix).arrays["values"]
    assert [(byte & 15, byte >> 4) for byte in nibbles.tolist()] == [(-7 & 15, 2), (3, 7)]


def test_impossible_parameters_are_refused() -> None:
    for make, match in (
        (lambda: Integer(9), "2 to 8"),
        (lambda: Integer(4, 8), "16 to 128"),
        (lambda: Integer(4, 32, "tensor"), "exclude"),
    ):
        with pytest.raises(ValueError, match=match):
            make()


def test_damaged_arrays_are_refused() -> None:
    codec = Integer(4, 32, asymmetric=True)
    encoded = codec.encode(normal((4, 64)))
    for role in ("values", "zero_points"):
        short = {**encoded.arrays, role: encoded.arrays[role][:-1]}
        with pytest.raises(ArtifactError, match="do not hold"):
            codec.decode(Encoded(short, encoded.shape))
    with pytest.raises(ArtifactError, match="scales of shape"):
        codec.decode(Encoded({**encoded.arrays, "scales": np.ones(3, np.float16)}, encoded.shape))


@given(matrices(extreme=False), codecs(), st.integers(0, 9))
def test_any_integers_of_the_grid_survive_encoding(matrix: Matrix, codec: Integer, seed: int) -> None:
    matrix[0, 0] += 2  # scales in fp16's range
    encoded = codec.encode(matrix)
    scale, low, high = (np.broadcast_to(part, matrix.shape) for part in codec.grid(encoded))
    q, _ = codec.integers(encoded)
    np.testing.assert_array_equal(codec.decode(codec.encode_integers(encoded, q)), codec.decode(encoded))
    chosen = np.random.default_rng(seed).integers(low.astype(int), high.astype(int), endpoint=True)
    again = codec.encode_integers(encoded, chosen)
    np.testing.assert_array_equal(codec.integers(again)[0], chosen)
    np.testing.assert_array_equal(codec.decode(again), chosen.astype(np.float32) * scale)
    assert {role: array.nbytes for role, array in again.arrays.items()} == {
        role: array.nbytes for role, array in encoded.arrays.items()
    }


def test_integers_outside_the_grid_are_refused() -> None:
    codec = Integer(4)
    encoded = codec.encode(np.ones((2, 16), np.float32))
    for wrong in (np.full((2, 16), 8), np.full((2, 16), -9), np.zeros((2, 15), np.int64)):
        with pytest.raises(ValueError, match="do not fit"):
            codec.encode_integers(encoded, wrong)
