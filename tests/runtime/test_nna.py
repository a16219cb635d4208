"""The Ethos-U interpreter's boundary: payloads and streams that it must refuse."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from tilewright.errors import ArtifactError
from tilewright.runtime import nna

from .nna_streams import Command, copy_stream, narrow, operation, payload, pool_stream, wide


def memory(nbytes: int = 256) -> dict[int, nna.Region]:
    return {1: nna.Region(np.zeros(nbytes, np.uint8))}


def refuse(data: bytes, text: str, regions: dict[int, nna.Region] | None = None, limit: int = 0) -> None:
    with pytest.raises(ArtifactError, match=text):
        nna.run(data, regions if regions is not None else memory(), limit)


def test_dma_copies() -> None:
    regions = memory()
    regions[1].data[:16] = np.arange(16)
    nna.run(payload(copy_stream(0, 64, 16)), regions)
    assert regions[1].data[64:80].tolist() == list(range(16))
    assert not regions[1].data[80:].any()


def test_max_pool() -> None:
    regions = memory()
    regions[1].data[:16] = np.arange(16)
    nna.run(payload(pool_stream()), regions)
    assert regions[1].data[64:68].tolist() == [5, 7, 13, 15]  # 4x4 to 2x2


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", "does not start with COP1"),
        (b"COP1", "without a command stream"),
        (b"COP1x", "a payload of 5 bytes"),
        (b"COP2" + payload([])[4:], "does not start with COP1"),
        (payload([])[:8], "truncated configuration"),
        (payload([], config=0x00002403), r"made for 2\^3 MACs"),
        (payload([], config=0x30001807), "product 3"),
        (payload([], config=0x00000807), "8 KiB of SHRAM"),
        (payload([], config=0x00001817), "version 1"),
        (payload(copy_stream(0, 64, 16), words=1000), "a stream of 1000 words"),
        (b"COP1" + struct.pack("<I", 0x77), "unknown driver action 119"),
    ],
)
def test_payloads(data: bytes, text: str) -> None:
    refuse(data, text)


def replaced(stream: list[Command], changed: Command) -> list[Command]:
    assert any(command.code == changed.code for command in stream)
    return [changed if command.code == changed.code else command for command in stream]


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        (wide("DMA0_SRC", 250), "the DMA's source needs 16 bytes at 250 of region 1, which has 256"),
        (wide("DMA0_DST", 2**40), "the DMA's destination needs 16 bytes"),
        (narrow("DMA0_DST_REGION", 2), "region 2, which has 0 bytes"),
        (narrow("DMA0_DST_REGION", 1 | 1 << 9), "strided DMA is not supported"),
        (wide("DMA0_LEN", 2**41), "needs 2199023255552 bytes"),
    ],
)
def test_copies_outside(changed: Command, text: str) -> None:
    refuse(payload(replaced(copy_stream(0, 64, 16), changed)), text)


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        (wide("IFM_BASE0", 245), "word [0-9]+, NPU_OP_POOL: the input needs 1 bytes at 256 of region 1"),
        (wide("OFM_STRIDE_Y", -65), "the output needs 1 bytes at -1 of region 1"),
        (wide("OFM_STRIDE_Y", 2**41), "NPU_SET_OFM_STRIDE_Y has more than 40 bits"),
        (narrow("OFM_REGION", 9), "region 9 of 8"),
        (narrow("IFM_DEPTH_M1", 1), "pooling of 2 channels to 1"),
        (narrow("IFM_UPSCALE", 3), "an unknown mode"),
        (narrow("IFM_PRECISION", 12), "unknown element width"),
        (narrow("IFM_ZERO_POINT", 300), "zero point of 300"),
        (narrow("OFM_PRECISION", 3 << 14), "unknown rounding mode"),
        (narrow("ACTIVATION", 7), "unknown function"),
        (narrow("ACTIVATION", 1 << 12), "unknown range"),
        (narrow("ACTIVATION_MIN", 200), "the activation's range is empty"),
        (narrow("ACC_FORMAT", 2), "neither 32"),
        (narrow("IFM_PAD_TOP", 9), "padding 9 and 0 covers all 4 rows"),
        (narrow("OFM_HEIGHT_M1", 65535), "the input needs"),
        (operation("OP_POOL", 3), "unknown pooling mode 3"),
    ],
)
def test_bad_operations(changed: Command, text: str) -> None:
    refuse(payload(replaced(pool_stream(), changed)), text)


def test_bad_words() -> None:
    refuse(payload([Command(0x3FF)]), "word 0: unknown command 0x000003ff")
    refuse(payload([Command(0x8000)]), "word 0: unknown command")
    refuse(payload([Command(0x4001)]), "NPU_SET_IFM_BASE1 without its second word")
    refuse(payload([operation("OP_IRQ")]), "ends without NPU_OP_STOP")
    refuse(payload([operation("OP_STOP"), operation("OP_STOP")]), "NPU_OP_STOP before the end")
    refuse(payload([operation("OP_CONV"), operation("OP_STOP")]), "NPU_OP_CONV: NPU_SET_[A-Z0-9_]+ is missing")


def test_read_only_regions_stay_as_they_are() -> None:
    region = nna.Region(np.zeros(256, np.uint8), writable=False)
    refuse(payload(pool_stream()), "region 1, which is read-only", {1: region})
    assert not region.data.any()


def test_the_limit_bounds_the_work() -> None:
    nna.run(payload(pool_stream()), memory(), 100)
    refuse(payload(pool_stream()), "more work than the limit of 50", limit=50)


def test_region_arguments() -> None:
    with pytest.raises(ValueError, match="not contiguous"):
        nna.run(payload(pool_stream()), {1: nna.Region(np.zeros(512, np.uint8)[::2])})
