"""Layout, codec and storage together."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.formats.strategies import Matrix, matrices, normal
from tilewright.errors import ArtifactError, DataError, RecipeError
from tilewright.formats.packed import kept_magnitude, pack, snr_db, unpack
from tilewright.formats.registry import parse

LAYOUTS = ["dense", "block_sparse(4,4)", "block_sparse(8,1)", "block_sparse(1,1)", "block_sparse(32,16)", "two_four"]
CODECS = ["f32", "int2(group=16)", "int3(group=64,asymmetric)", "int4", "int8(per=tensor)", "codebook(5)", "vbd(6)"]


@settings(max_examples=60)
@given(matrices(extreme=False), st.sampled_from(LAYOUTS), st.sampled_from(CODECS), st.booleans(), st.floats(0.05, 1))
def test_every_combination(matrix: Matrix, layout: str, codec: str, coded: bool, density: float) -> None:
    matrix = matrix + np.float32(np.abs(matrix).max() < 1e-2)  # keeps fp16 scales in range
    form = parse(f"{layout} {codec} {'entropy' if coded else 'raw'}")
    share = {"dense": 1.0, "two_four": 0.5}.get(layout, density)
    mask = form.layout.prune(matrix, share)
    packed = pack(matrix, form, share)
    decoded = unpack(packed)
    assert decoded.shape == matrix.shape
    assert decoded.dtype == np.float32
    assert not decoded[~mask].any()
    kept = form.layout.pack(np.where(mask, matrix, np.float32(0)))
    assert np.array_equal(decoded, form.layout.unpack(kept_decoded(kept, form)))
    assert sum(packed.sizes.values()) == packed.nbytes == sum(len(stored.data) for stored in packed.arrays)
    if not coded:
        assert packed.nbytes == packed.expanded_nbytes
        if not codec.startswith("vbd"):
            index = sum(array.nbytes for array in kept.index.values())
            assert packed.nbytes == form.codec.packed_bytes(kept.payload.shape) + index


def kept_decoded(kept, form):  # type: ignore[no-untyped-def]
    """What the layout kept, through the codec alone."""
    return type(kept)(form.codec.decode(form.codec.encode(kept.payload)), kept.index, kept.shape)


def test_bytes_are_counted_by_role() -> None:
    matrix = normal((128, 256))
    packed = pack(matrix, "block_sparse(4,4) int4(group=32,asymmetric)", 0.125)
    kept = 128 * 256 // 8
    assert packed.sizes == {
        "index": 32 * 8 * 2,
        "values": kept // 2,
        "scales": kept // 32 * 2,
        "zero_points": kept // 32 // 2,
    }
    assert packed.nbytes == 512 + 2048 + 256 + 64
    assert packed.bits_per_weight == packed.nbytes * 8 / matrix.size


def test_padding_is_counted() -> None:
    packed = pack(normal((6, 10)), "block_sparse(4,4) int8")
    # 8 x 12 values are stored for 6 x 10 weights; the padded rows have scales as well.
    assert packed.sizes == {"index": 2 * 3 * 2, "values": 60, "padding": 36, "scales": 8 * 4}
    # The second group of four columns has one weight of the matrix, and keeps one of the three zeros beside it.
    packed = pack([[1.0, 0.0, 1.0, 0.0, 1.0]], "2:4 f16")
    assert packed.sizes == {"index": 1, "values": 6, "padding": 2}


def test_columns_outside_the_matrix_are_padding_where_a_block_covers_them() -> None:
    matrix = np.zeros((4, 6), np.float32)
    matrix[:, :4] = 1
    assert pack(matrix, "block_sparse(4,4)").padded == 0
    matrix = np.zeros((4, 6), np.float32)
    matrix[:, 4:] = 1
    packed = pack(matrix, "block_sparse(4,4)")
    assert packed.padded == 8
    assert packed.sizes == {"index": 2, "values": 32, "padding": 32}


def test_astc_blocks_are_values() -> None:
    packed = pack(normal((24, 36)), "astc(6,6) entropy")
    assert set(packed.sizes) == {"blocks", "scales"}
    assert np.isfinite(unpack(packed)).all()


@pytest.mark.parametrize(("zeros", "limit"), [(0.0, 1.01), (0.9, 1.01)])
def test_packed_and_coded_weights_come_close_to_their_entropy(zeros: float, limit: float) -> None:
    rng = np.random.default_rng(0)
    matrix = rng.laplace(size=(512, 1024)).astype(np.float32)
    matrix[rng.random(matrix.shape) < zeros] = 0
    packed = pack(matrix, "int4(per=tensor) entropy")
    (values,) = (stored for stored in pack(matrix, "int4(per=tensor)").arrays if stored.role == "values")
    nibbles = np.frombuffer(values.data, np.uint8)
    share = np.bincount(np.concatenate([nibbles & 15, nibbles >> 4]), minlength=16) / matrix.size
    entropy = -float((share[share > 0] * np.log2(share[share > 0])).sum())
    assert packed.bits_per_weight <= entropy * limit


def test_wrong_input_is_refused() -> None:
    with pytest.raises(RecipeError, match="'int1' is unknown"):
        pack(normal((2, 2)), "int1")
    with pytest.raises(RecipeError, match="density is 0"):
        pack(normal((2, 2)), "block_sparse(1,1)", 0)
    with pytest.raises(DataError, match="NaN"):
        pack(np.full((2, 2), np.nan), "int4")
    with pytest.raises(DataError, match="more than two weights"):
        pack(normal((2, 4)), "2:4")


@pytest.mark.parametrize("role", ["index", "values", "scales"])
def test_missing_arrays_are_refused(role: str) -> None:
    packed = pack(normal((8, 8)), "block_sparse(4,4) int4")
    rest = tuple(stored for stored in packed.arrays if stored.role != role)
    with pytest.raises(ArtifactError, match=f"no array of {role}"):
        unpack(dataclasses.replace(packed, arrays=rest))


def test_signal_to_noise() -> None:
    assert snr_db([[3.0, 4.0]], [[3.0, 4.0]]) == np.inf
    assert snr_db([[10.0, 0.0]], [[9.0, 0.0]]) == pytest.approx(20)
    assert snr_db([0.0], [1.0]) == -np.inf
    assert snr_db(np.full((2, 2), 1e30, np.float32), np.full((2, 2), 1.1e30, np.float32)) == pytest.approx(20, abs=1e-4)


def test_kept_magnitude() -> None:
    mask = np.array([[True, False, True]])
    assert kept_magnitude([[1.0, -1.0, 2.0]], mask) == 0.75
    assert kept_magnitude([[0.0, 0.0, 0.0]], mask) == 1
