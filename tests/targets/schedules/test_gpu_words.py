"""Kernel order of the GPU targets: every weight is where the format's description says."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tilewright.targets.schedules.gpu_words import Words, chunk_of


def read(words: Words, values: np.ndarray, output: int, column: int) -> int:
    """One integer, unsigned, by the description: planes of 4, 2 and 1 bits, the most significant first."""
    tile, inside = divmod(output, words.lanes * words.rows)
    lane, row = divmod(inside, words.rows)
    chunk, at = divmod(column, words.chunk)
    four, byte = divmod(at, 4)
    value, base = 0, 0
    for plane in (width for width in (8, 4, 2, 1) if words.bits & width):
        share = 8 // plane
        word = int(values[tile, chunk, base + four // share, lane, row]) & 0xFFFFFFFF
        value = value << plane | word >> 8 * byte + four % share * plane & (1 << plane) - 1
        base += words.chunk // 4 // share
    return value


@settings(max_examples=40, deadline=None)
@given(
    bits=st.integers(2, 8),
    outputs=st.integers(1, 40),
    columns=st.integers(1, 70),
    rows=st.sampled_from([1, 2, 4]),
    lanes=st.integers(1, 5),
    data=st.data(),
)
def test_integers_take_their_bits_and_no_more(
    bits: int, outputs: int, columns: int, rows: int, lanes: int, data: st.DataObject
) -> None:
    chunk = chunk_of(bits)
    words = Words(outputs, -(-columns // chunk) * chunk, bits, False, rows, lanes)
    payload = np.random.default_rng(bits).integers(-(1 << bits - 1), 1 << bits - 1, (outputs, columns))
    values = words.pack(payload.astype(np.int16))
    assert values.shape == words.values_shape
    assert values.nbytes * 8 == words.padded_outputs * words.columns * bits
    output, column = data.draw(st.integers(0, outputs - 1)), data.draw(st.integers(0, columns - 1))
    assert read(words, values, output, column) == payload[output, column] & (1 << bits) - 1
    beyond = words.padded_outputs - 1
    assert beyond < outputs or read(words, values, beyond, 0) == 0


@pytest.mark.parametrize(("bits", "dtype"), [(16, "float16"), (32, "float32")])
def test_floats_lie_in_vectors_of_neighbouring_outputs(bits: int, dtype: str) -> None:
    words = Words(10, 8, bits, False, rows=4, lanes=2)
    payload = np.arange(70, dtype=np.float32).reshape(10, 7)
    values = words.pack(payload)
    assert values.dtype == dtype
    np.testing.assert_array_equal(values[1, 0, 2, 0, :2], payload[8:10, 2])
    np.testing.assert_array_equal(values[1, 0, 2, 0, 2:], 0)
    np.testing.assert_array_equal(values[0, 1, 1, 1], payload[4:8, 5])


def test_the_index_is_transposed_and_padded_within_its_row() -> None:
    words = Words(9, 16, 4, False, rows=4, lanes=3, bh=4, bw=4)
    index = np.array([[0, 3, 9], [1, 2, 4], [5, 6, 7]])
    packed = words.pack_index(index)
    assert packed.dtype == np.uint16
    np.testing.assert_array_equal(packed, [[0, 1, 5], [3, 2, 6], [9, 4, 7], [9, 4, 7]])


def test_scales_lie_side_by_side_for_outputs() -> None:
    words = Words(5, 64, 4, False, rows=4, lanes=2, group=32, scale_dtype="float16")
    scales = np.arange(10, dtype=np.float16).reshape(5, 2)
    packed = words.pack_scales(scales, "float16")
    assert packed.shape == (2, 8)
    np.testing.assert_array_equal(packed[:, :5], scales.T)
    np.testing.assert_array_equal(packed[:, 5:], 0)
