"""Element decoders: on NumPy arrays they equal the reference decoders bit for bit, in every layout."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.formats.strategies import Matrix, matrices
from tilewright.errors import DataError
from tilewright.formats.codecs.astc import modes
from tilewright.formats.element import decode
from tilewright.formats.packed import expand, pack, unpack

CODECS = [
    "f32",
    "f16",
    *(f"int{bits}" for bits in range(2, 9)),
    "int3(per=tensor)",
    "int6(per=tensor,asymmetric)",
    "int4(group=32)",
    "int5(group=16,asymmetric)",
    "int8(group=64,asymmetric)",
    "codebook(2)",
    "codebook(5)",
    "codebook(16)",
    "codebook(200)",
    "codebook(16,scaled)",
    "vbd(3.5)",
    "vbd(11)",
    "vbd(7,per=tensor)",
    "vbd(16,per=tensor)",
]
LAYOUTS = ["dense", "block_sparse(1,1)", "block_sparse(4,2)", "block_sparse(8,1)", "two_four"]


def same(matrix: Matrix, spec: str, density: float | None) -> None:
    try:
        packed = pack(matrix, spec, density)
    except DataError:
        return  # magnitudes that the codec cannot hold, and says so
    index, encoded = expand(packed)
    got = decode(packed.format, {**index, **encoded.arrays}, packed.shape, packed.payload_shape)
    np.testing.assert_array_equal(got, unpack(packed), strict=True)
    shapes = {role: array.shape for role, array in index.items()}
    assert packed.format.layout.payload_shape(packed.shape, shapes) == packed.payload_shape


@settings(max_examples=15, deadline=None)
@given(matrix=matrices(), layout=st.sampled_from(LAYOUTS))
@pytest.mark.parametrize("codec", CODECS)
def test_equals_the_reference(codec: str, matrix: Matrix, layout: str) -> None:
    density = {"dense": None, "two_four": 0.5}.get(layout, 0.3)
    same(matrix, f"{layout} {codec}", density)


@pytest.mark.parametrize("footprint", modes.FOOTPRINTS)
@pytest.mark.parametrize("shape", [(1, 1), (13, 50), (40, 37)])
def test_astc_equals_the_reference(footprint: tuple[int, int], shape: tuple[int, int]) -> None:
    matrix = np.random.default_rng(5).standard_normal(shape, np.float32)
    same(matrix, f"astc({footprint[0]},{footprint[1]})", None)
    same(matrix, f"block_sparse(4,4) astc({footprint[0]},{footprint[1]})", 0.3)


def test_astc_with_a_power_of_two_of_levels() -> None:
    same(np.random.default_rng(6).standard_normal((30, 30), np.float32), "astc(6,6,levels=4)", None)
