"""Small Ethos-U command streams, written by hand: numbers are those of the register file that Vela carries."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

U55_128: Final = 0x00001807
"""A configuration word: 2^7 MACs, 24 KiB of SHRAM, Ethos-U55."""

OPERATIONS: Final = {"OP_STOP": 0x00, "OP_IRQ": 0x01, "OP_CONV": 0x02, "OP_POOL": 0x05, "OP_DMA_START": 0x10}
NARROW: Final = {
    "IFM_PAD_TOP": 0x100, "IFM_PAD_LEFT": 0x101, "IFM_PAD_RIGHT": 0x102, "IFM_PAD_BOTTOM": 0x103, "IFM_DEPTH_M1": 0x104,
    "IFM_PRECISION": 0x105, "IFM_UPSCALE": 0x107, "IFM_ZERO_POINT": 0x109, "IFM_WIDTH0_M1": 0x10A,
    "IFM_HEIGHT0_M1": 0x10B, "IFM_HEIGHT1_M1": 0x10C, "IFM_REGION": 0x10F, "OFM_WIDTH_M1": 0x111,
    "OFM_HEIGHT_M1": 0x112, "OFM_DEPTH_M1": 0x113, "OFM_PRECISION": 0x114, "OFM_BLK_DEPTH_M1": 0x117,
    "OFM_ZERO_POINT": 0x118,
    "OFM_WIDTH0_M1": 0x11A, "OFM_HEIGHT0_M1": 0x11B, "OFM_HEIGHT1_M1": 0x11C, "OFM_REGION": 0x11F,
    "KERNEL_WIDTH_M1": 0x120, "KERNEL_HEIGHT_M1": 0x121, "KERNEL_STRIDE": 0x122, "ACC_FORMAT": 0x124,
    "ACTIVATION": 0x125, "ACTIVATION_MIN": 0x126, "ACTIVATION_MAX": 0x127, "DMA0_SRC_REGION": 0x130,
    "DMA0_DST_REGION": 0x131,
}  # fmt: skip
WIDE: Final = {
    "IFM_BASE0": 0x00, "IFM_BASE1": 0x01, "IFM_BASE2": 0x02, "IFM_BASE3": 0x03, "IFM_STRIDE_X": 0x04,
    "IFM_STRIDE_Y": 0x05, "IFM_STRIDE_C": 0x06, "OFM_BASE0": 0x10, "OFM_BASE1": 0x11, "OFM_BASE2": 0x12,
    "OFM_BASE3": 0x13, "OFM_STRIDE_X": 0x14, "OFM_STRIDE_Y": 0x15, "OFM_STRIDE_C": 0x16, "DMA0_SRC": 0x30,
    "DMA0_DST": 0x31, "DMA0_LEN": 0x32,
}  # fmt: skip


@dataclass(frozen=True)
class Command:
    """One command: its low half-word, parameter, and second word if it has one."""

    code: int
    parameter: int = 0
    second: int | None = None

    def words(self) -> list[int]:
        first = self.code | (self.parameter & 0xFFFF) << 16
        return [first] if self.second is None else [first, self.second]


def operation(name: str, parameter: int = 0) -> Command:
    """NPU_OP_..."""
    return Command(OPERATIONS[name], parameter)


def narrow(name: str, value: int) -> Command:
    """NPU_SET_... with 16 bits."""
    return Command(NARROW[name], value)


def wide(name: str, value: int) -> Command:
    """NPU_SET_... with 48 bits, signed."""
    return Command(0x4000 | WIDE[name], value >> 32 & 0xFFFF, value & 0xFFFFFFFF)


def payload(commands: list[Command], config: int = U55_128, words: int | None = None) -> bytes:
    """A driver payload. words: the stream's length that its header claims."""
    stream = [word for command in commands for word in command.words()]
    count = len(stream) if words is None else words
    return b"COP1" + struct.pack(f"<4I{len(stream)}I", 1, config, 0, 2 | count << 16, *stream)


def copy_stream(source: int, destination: int, nbytes: int) -> list[Command]:
    """A DMA within region 1."""
    return [
        narrow("DMA0_SRC_REGION", 1),
        wide("DMA0_SRC", source),
        narrow("DMA0_DST_REGION", 1),
        wide("DMA0_DST", destination),
        wide("DMA0_LEN", nbytes),
        operation("OP_DMA_START"),
        operation("OP_STOP"),
    ]


def pool_stream() -> list[Command]:
    """Maxima of 2x2 with stride 2 over int8 (4, 4, 1) at 0 of region 1, to (2, 2, 1) at 64."""
    registers = {
        "IFM_PAD_TOP": 0, "IFM_PAD_LEFT": 0, "IFM_PAD_RIGHT": 0, "IFM_PAD_BOTTOM": 0, "IFM_DEPTH_M1": 0,
        "IFM_PRECISION": 1, "IFM_UPSCALE": 0, "IFM_ZERO_POINT": 0, "IFM_WIDTH0_M1": 3, "IFM_HEIGHT0_M1": 3,
        "IFM_HEIGHT1_M1": 3, "IFM_REGION": 1, "OFM_WIDTH_M1": 1, "OFM_HEIGHT_M1": 1, "OFM_DEPTH_M1": 0,
        "OFM_PRECISION": 1, "OFM_BLK_DEPTH_M1": 7, "OFM_ZERO_POINT": 0, "OFM_WIDTH0_M1": 1, "OFM_HEIGHT0_M1": 1,
        "OFM_HEIGHT1_M1": 1, "OFM_REGION": 1, "KERNEL_WIDTH_M1": 1, "KERNEL_HEIGHT_M1": 1, "KERNEL_STRIDE": 3,
        "ACC_FORMAT": 0, "ACTIVATION": 0, "ACTIVATION_MIN": -128, "ACTIVATION_MAX": 127,
    }  # fmt: skip
    addresses = dict.fromkeys(WIDE, 0) | {
        "IFM_STRIDE_X": 1, "IFM_STRIDE_Y": 4, "OFM_BASE0": 64, "OFM_STRIDE_X": 1, "OFM_STRIDE_Y": 2,
    }  # fmt: skip
    commands = [narrow(name, value) for name, value in registers.items()]
    commands += [wide(name, value) for name, value in addresses.items() if not name.startswith("DMA")]
    return [*commands, operation("OP_POOL", 0), operation("OP_STOP")]
