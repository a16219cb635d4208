"""Kernel order: packing against a decoder written out in NumPy, and the TIR decoder against both."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tvm
from hypothesis import given, settings
from hypothesis import strategies as st
from tvm import te

from tests.targets.schedules.packed import unpacked
from tilewright.targets.schedules.cpu_blocks import Blocks
from tilewright.targets.schedules.ir import i64s

Array = npt.NDArray[Any]


@st.composite
def geometries(draw: st.DrawFn) -> Blocks:
    word = draw(st.sampled_from([1, 4]))
    bits = draw(st.sampled_from([2, 3, 4, 5, 6, 7, 8, *([16, 32] if word == 1 else [])]))
    lanes = draw(st.sampled_from([4, 8, 16]))
    bh = draw(st.sampled_from([1, 2, 4, 8, 16, 32, 3 * lanes]))
    bw = draw(st.sampled_from([side for side in (1, 2, 4, 8, 16, 32) if side >= word]))
    k = draw(st.integers(1, 9))
    return Blocks(draw(st.integers(1, 40)), k * bw, bh, bw, k, draw(st.booleans()), bits, word, lanes)


def payload(blocks: Blocks, k: int, seed: int) -> Array:
    rng = np.random.default_rng(seed)
    shape = blocks.outputs, k * blocks.bw
    if not blocks.planes:
        return rng.standard_normal(shape).astype(blocks.values_dtype)
    return rng.integers(-(1 << blocks.bits - 1), 1 << blocks.bits - 1, shape).astype(np.int16)


@settings(max_examples=100, deadline=None)
@given(geometries(), st.integers(0, 99))
def test_what_is_packed_is_unpacked(blocks: Blocks, seed: int) -> None:
    values = payload(blocks, blocks.depth // blocks.bw, seed)
    packed = blocks.pack(values)
    assert packed.shape == blocks.values_shape
    assert packed.nbytes * 8 == blocks.block_rows * blocks.units * blocks.unit * blocks.elements * blocks.bits
    got = unpacked(blocks, packed)
    np.testing.assert_array_equal(got[: values.shape[0], : values.shape[1]], values)
    assert not got[values.shape[0] :].any()
    assert not got[:, values.shape[1] :].any()


@settings(max_examples=12, deadline=None)
@given(geometries(), st.integers(0, 99))
def test_tir_decodes_the_same(blocks: Blocks, seed: int) -> None:
    packed = blocks.pack(payload(blocks, blocks.depth // blocks.bw, seed))
    source = te.placeholder(i64s(*blocks.values_shape), blocks.values_dtype, "values")
    rows, columns = blocks.block_rows * blocks.bh, blocks.k * blocks.bw

    def element(row: Any, column: Any) -> Any:
        block, inside = te.div(column, blocks.bw), te.indexmod(column, blocks.bw)
        place = blocks.position(te.indexmod(row, blocks.bh), inside)
        return blocks.decode_one(lambda *at: source(*at), te.indexdiv(row, blocks.bh), block, place)

    result = te.compute(i64s(rows, columns), element, name="result")
    library = tvm.compile(te.create_prim_func([source, result]), tvm.target.Target("llvm"))
    out = tvm.runtime.empty((rows, columns), "float32" if not blocks.planes else "int32")
    library["main"](tvm.runtime.tensor(packed), out)
    wanted = unpacked(blocks, packed).astype(out.dtype if blocks.planes else np.float32)
    np.testing.assert_array_equal(out.numpy(), wanted * blocks.gain)


@settings(max_examples=50, deadline=None)
@given(geometries())
def test_positions_are_a_permutation(blocks: Blocks) -> None:
    places = [int(blocks.position(row, column)) for row in range(blocks.bh) for column in range(blocks.bw)]
    assert sorted(places) == list(range(blocks.elements))


@pytest.mark.parametrize(("k", "group", "groups"), [(8, 4, 2), (9, 4, 3), (2, 4, 1)])
def test_scales_are_padded(k: int, group: int, groups: int) -> None:
    blocks = Blocks(5, 4 * k, 4, 4, k, True, 8, 4, 16, group, "float32")
    scales = np.arange(1, 1 + 5 * groups, dtype=np.float32).reshape(5, groups)
    packed = blocks.pack_scales(scales)
    assert packed.shape == (2, groups, 4)
    for row in range(8):
        np.testing.assert_array_equal(packed[row // 4, :, row % 4], scales[row] if row < 5 else 0)
