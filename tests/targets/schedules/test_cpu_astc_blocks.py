"""ASTC blocks in kernel order: bit for bit what the format's decoder reads, in no more bytes."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.targets.schedules.compressed_layers import matrix
from tilewright.formats.codecs.astc import infill, modes
from tilewright.formats.codecs.astc.codec import ZERO, Astc
from tilewright.targets import resolve
from tilewright.targets.schedules.cpu_astc_blocks import AstcBlocks

Array = npt.NDArray[Any]


def unpacked(blocks: AstcBlocks, packed: Array, table: Array) -> Array:
    """Sixty-fourths of endpoints, [outputs, depth], int64, by the description in cpu_astc_blocks.py."""
    b = blocks
    strides = [b.lanes] * (b.block_rows // b.lanes) + [b.block_rows % b.lanes] * (b.block_rows % b.lanes > 0)
    rows, start = [], 0
    for stride in strides:
        size = b.across * b.words * stride
        rows.append(packed[start : start + size].reshape(b.across, b.words, stride).transpose(2, 0, 1))
        start += size
    assert start <= len(packed) < start + b.lanes
    words = np.concatenate(rows).view(np.uint32)
    bits = (words[..., None] >> np.arange(32, dtype=np.uint32) & 1).reshape(b.block_rows, b.across, -1).astype(np.int64)

    def field(at: int, count: int) -> Array:
        return bits[..., at : at + count] @ (1 << np.arange(count))

    low, high = field(0, 8), field(8, 8)
    tables = table.reshape(b.digits, -1)
    weights = np.stack(
        [
            tables[number % b.digits][field(16 + number // b.digits * b.bits, b.bits)]
            for number in range(b.scheme.mode.weights)
        ],
        axis=-1,
    ).astype(np.int64)
    if b.scheme.direct:
        texels = weights.reshape(b.block_rows, b.across, b.width, b.height).swapaxes(2, 3)
    else:
        factors = infill.matrix((b.width, b.height), (b.scheme.mode.width, b.scheme.mode.height)).astype(np.int64)
        texels = ((weights @ factors.T + 8) >> 4).reshape(b.block_rows, b.across, b.height, b.width)
    mixed = low[..., None, None] * 64 + (high - low)[..., None, None] * texels
    found: Array = mixed.swapaxes(1, 2).reshape(b.block_rows * b.height, b.across * b.width)
    return found[: b.outputs, : b.depth]


@st.composite
def codecs(draw: st.DrawFn) -> Astc:
    footprint = draw(st.sampled_from(modes.FOOTPRINTS))
    levels = draw(st.sampled_from([None, *modes.WEIGHT_LEVELS]))
    try:
        return Astc(*footprint, levels)
    except ValueError:  # too many levels for so many weights, or too few
        return Astc(*footprint)


@settings(max_examples=60, deadline=None)
@given(codecs(), st.integers(1, 120), st.integers(1, 60), st.sampled_from(["cpu-avx2", "cpu-avx512", "cpu-neon"]))
def test_the_order_is_the_formats_meaning(codec: Astc, outputs: int, depth: int, name: str) -> None:
    device = resolve(name).device
    blocks = AstcBlocks.of(codec, (outputs, depth), device.facts["vector_bytes"] // 4)
    assert blocks is not None
    encoded = codec.encode(matrix(outputs, depth, outputs))
    packed = blocks.pack(encoded.arrays["blocks"])
    assert not isinstance(packed, str)
    assert packed.shape == (blocks.size,)
    mixed = unpacked(blocks, packed, blocks.table(device))
    weights = ((mixed * 257 + 32) // 64 - ZERO).astype(np.float32) * encoded.arrays["scales"][:, None]
    np.testing.assert_array_equal(weights, codec.decode(encoded))


@pytest.mark.parametrize("footprint", modes.FOOTPRINTS)
def test_blocks_take_no_more_bytes_than_the_formats(footprint: tuple[int, int]) -> None:
    for levels in (None, *modes.WEIGHT_LEVELS):
        try:
            blocks = AstcBlocks.of(Astc(*footprint, levels), (64, 64), 16)
        except ValueError:
            continue
        assert blocks is not None
        assert 4 * blocks.words <= modes.BLOCK_BYTES


def test_tables_repeat_where_registers_look_at_more_bits() -> None:
    for name in ("cpu-avx2", "cpu-avx512"):
        device = resolve(name).device
        blocks = AstcBlocks.of(Astc(8, 6), (8, 8), device.facts["vector_bytes"] // 4)
        assert blocks is not None
        assert (blocks.table(device) == np.tile([0, 21, 43, 64], blocks.lanes // 4)).all()


def test_blocks_of_another_mode_have_no_kernel() -> None:
    blocks = AstcBlocks.of(Astc(6, 6), (30, 30), 16)
    assert blocks is not None
    encoded = Astc(6, 6).encode(matrix(30, 30)).arrays["blocks"]
    other = encoded.copy()
    other[1, 2:4] = Astc(6, 6, 4).encode(matrix(6, 12)).arrays["blocks"]
    assert blocks.pack(other) == "2 of 25 ASTC blocks are not of the mode that kernels decode"
    assert AstcBlocks.of(Astc(6, 6, astcenc=50), (30, 30), 16) is None
