"""Vectors of ASTC weights: what is computed once a block, and what once a weight."""

from __future__ import annotations

import pytest
from tvm import tirx

from tilewright.formats.codecs.astc.codec import Astc
from tilewright.targets import resolve
from tilewright.targets.schedules.cpu_astc_blocks import AstcBlocks
from tilewright.targets.schedules.cpu_astc_decoder import AstcDecoder
from tilewright.targets.schedules.cpu_tile import Core
from tilewright.targets.schedules.ir import i64, i64s


def opened(codec: Astc, name: str = "cpu-avx512") -> tuple[AstcDecoder, list[str]]:
    """A decoder with an open block, and the names of the variables that it bound for that."""
    device = resolve(name).device
    blocks = AstcBlocks.of(codec, (100, 100), Core.of(device).lanes)
    assert blocks is not None
    values = tirx.decl_buffer(i64s(blocks.size), "int32", name="values")
    table = tirx.decl_buffer(i64s(len(blocks.table(device))), "float32", name="table")
    decoder = AstcDecoder(blocks, device, values, table, i64(0), blocks.lanes)
    tables = decoder.open()
    assert len(tables) == sum(lookup.registers for lookup in decoder.lookups)
    return decoder, [str(bind.var.name) for bind in decoder.open_block(i64(0))]


@pytest.mark.parametrize("codec", [Astc(4, 4), Astc(6, 6), Astc(8, 5), Astc(10, 6), Astc(12, 12)])
def test_nothing_is_decoded_twice(codec: Astc) -> None:
    decoder, first = opened(codec)
    b = decoder.blocks
    assert first.count("word") == b.words
    assert first.count("end") == 2
    names = []
    for column in range(codec.width):
        for row in range(codec.height):
            names += [str(bind.var.name) for bind in decoder.weight(row, column)[1]]
    weights = b.scheme.mode.weights
    assert names.count("field") == -(-weights // b.digits)
    assert names.count("stored") == weights
    assert names.count("mixed") == names.count("w") == codec.width * codec.height
    assert {str(bind.var.name) for bind in decoder.open_block(i64(1))} >= {"base", "delta"}
    assert decoder.weight(0, 0)[1], "another block has other fields"


def test_fields_of_tables_in_memory_are_masked() -> None:
    """A gather would go by all bits of a number."""
    for name, masked in (("cpu-avx512", False), ("cpu-neon", True)):
        decoder, _ = opened(Astc(6, 6), name)
        bound = decoder.weight(1, 0)[1]
        assert ("bitwise_and" in str(bound[0].value) or "&" in str(bound[0].value)) == masked
