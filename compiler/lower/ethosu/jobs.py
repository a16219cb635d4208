"""What a command stream asks the accelerator to do, read back from its registers: kernels, transfers and waits.

Reading the stream instead of what it was made from has one advantage: streams of other compilers are read as well.
Registers: Arm Ethos-U55 and Ethos-U65 register lists, as in Vela's ethos_u55_regs.py.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

Shape = tuple[int, int, int]
"""Height, width, channels."""

KERNELS = {2: "convolution", 3: "depthwise", 5: "pooling", 6: "elementwise"}
_DMA_START, _DMA_WAIT, _KERNEL_WAIT = 0x10, 0x11, 0x12
_MAGIC, _CONFIG, _STREAM = 0x31504F43, 1, 2  # of driver payloads
_WIDE = 0x4000  # this command has a second word
_UNARY = (5, 6, 7)  # elementwise modes: LRELU, ABS, CLZ
_SCALAR = 1 << 7  # of IFM2_BROADCAST: the second operand is a register
_SHRAM = 1 << 8  # of a region: the accelerator's own memory

SHRAM = -1
"""Stands for the region of the accelerator's own memory."""


@dataclass(frozen=True)
class Plane:
    """A feature map of a kernel: its shape, bits an element, whether it lies in bricks (NHCWB16), its region."""

    shape: Shape
    bits: int
    bricks: bool
    region: int


@dataclass(frozen=True)
class Kernel:
    """One operation.

    Attributes:
        kind: of ``KERNELS``.
        mode: of pooling (maximum, average, sum) or of an elementwise operation, as the device numbers them.
        block: of the output that is computed at a time.
        part_kernel: traversal.
        wide: accumulators of 40 bits.
        clamps, table: what follows the accumulators.
        weight_bytes, scale_bytes: coded; of all cores.
    """

    kind: str
    mode: int
    ifm: Plane
    ifm2: Plane | None
    ofm: Plane
    kernel: tuple[int, int]
    strides: tuple[int, int]
    dilations: tuple[int, int]
    upscale: int
    block: Shape
    part_kernel: bool
    wide: bool
    clamps: bool
    table: bool
    weight_bytes: int
    scale_bytes: int
    weight_region: int


@dataclass(frozen=True)
class Transfer:
    """A DMA between regions."""

    source: int
    target: int
    nbytes: int


@dataclass(frozen=True)
class Wait:
    """Until at most ``left`` kernels (or transfers) are under way."""

    transfers: bool
    left: int


Job = Kernel | Transfer | Wait


def read(payload: bytes) -> list[Job]:
    """The jobs of a driver payload that Vela or this compiler wrote.

    Raises:
        ValueError: it is no such payload.
    """
    words = struct.unpack(f"<{len(payload) // 4}I", payload)
    if not words or words[0] != _MAGIC:
        raise ValueError("no driver payload: it does not start with COP1")
    at = 1
    while at < len(words):
        tag = words[at] & 0xFF
        if tag == _STREAM:
            count = (words[at] >> 8 & 0xFF) << 16 | words[at] >> 16
            return read_words(words[at + 1 : at + 1 + count])
        at += 3 if tag == _CONFIG else 1
    raise ValueError("a driver payload without a command stream")


def read_words(words: tuple[int, ...] | list[int]) -> list[Job]:
    """The same for the words of a stream alone."""
    registers = _Registers()
    return list(_jobs(words, registers))


def _jobs(words: tuple[int, ...] | list[int], registers: _Registers) -> Iterator[Job]:
    at = 0
    while at < len(words):
        code, parameter = words[at] & 0x3FF, words[at] >> 16
        if words[at] & _WIDE:
            registers.wide[code] = parameter << 32 | words[at + 1]
            at += 2
            continue
        if code in KERNELS:
            yield registers.kernel(KERNELS[code], parameter)
        elif code == _DMA_START:
            yield registers.transfer()
        elif code in (_DMA_WAIT, _KERNEL_WAIT):
            yield Wait(code == _DMA_WAIT, parameter & 15)
        elif code >= 0x100:
            registers.narrow[code] = parameter
        at += 1


class _Registers:
    def __init__(self) -> None:
        self.narrow: dict[int, int] = {}
        self.wide: dict[int, int] = {}

    def get(self, code: int) -> int:
        return self.narrow.get(code, 0)

    def length(self, *codes: int) -> int:
        return sum(self.wide.get(code, 0) & 0xFFFFFFFF for code in codes)

    def transfer(self) -> Transfer:
        source, target = (SHRAM if self.get(code) & _SHRAM else self.get(code) for code in (0x130, 0x131))
        return Transfer(source, target, self.length(0x32))

    def kernel(self, kind: str, mode: int) -> Kernel:
        strides = self.get(0x122)
        dilations = (1 + (strides >> 4 & 1), 1 + (strides >> 3 & 1))
        steps = (1 + (strides >> 1 & 1) + 2 * (strides >> 9 & 7), 1 + (strides & 1) + 2 * (strides >> 6 & 7))
        spans = (self.get(0x121), self.get(0x120))
        taps = tuple(span // dilation + 1 for span, dilation in zip(spans, dilations, strict=True))
        out = (self.get(0x112) + 1, self.get(0x111) + 1, self.get(0x113) + 1)
        elementwise, upscale = kind == "elementwise", self.get(0x107)
        if elementwise:
            taps = steps = dilations = (1, 1)
            size = out[:2]
        else:
            pads = (self.get(0x100) + self.get(0x103), self.get(0x101) + self.get(0x102))
            inner = [(out[i] - 1) * steps[i] + spans[i] + 1 - pads[i] for i in (0, 1)]
            size = (inner[0], inner[1]) if not upscale else ((inner[0] + 1) // 2, (inner[1] + 1) // 2)
        # An elementwise operation writes as deep a map as it reads, whatever IFM_DEPTH says to a convolution.
        ifm = self.plane((*size, self.get(0x104) + 1), 0x105, 2, 0x10F)
        broadcast, binary = self.get(0x180), elementwise and mode not in _UNARY
        second = None
        if binary:
            shape = (1, 1, 1) if broadcast & _SCALAR else (
                1 if broadcast & 1 else out[0], 1 if broadcast & 2 else out[1], 1 if broadcast & 4 else out[2]
            )  # fmt: skip
            second = self.plane(shape, 0x185, 2, 0x18F)
        ofm = self.plane(out, 0x114, 1, 0x11F)
        weighted = kind in ("convolution", "depthwise")
        activation = self.get(0x125) & 0xFFF
        return Kernel(
            kind, mode, ifm, second, ofm, (taps[0], taps[1]), steps, dilations, upscale,
            (self.get(0x116) + 1, self.get(0x115) + 1, self.get(0x117) + 1), bool(strides >> 2 & 1) and not elementwise,
            self.get(0x124) == 1, activation == 0 and self._clamps(ofm.bits), activation != 0,
            self.length(0x21, 0x91) if weighted else 0, self.length(0x23, 0x93) if weighted else 0, self.get(0x128),
        )  # fmt: skip

    def plane(self, shape: Shape, precision: int, bit: int, region: int) -> Plane:
        bits = self.get(precision)
        return Plane(shape, 8 << (bits >> bit & 3), bool(bits >> 6 & 1), self.get(region))

    def _clamps(self, bits: int) -> bool:
        if bits > 16:
            return False
        signed = self.get(0x114) & 1
        low, high = (_signed(self.get(code)) if signed else self.get(code) for code in (0x126, 0x127))
        least = -(1 << bits - 1) if signed else 0
        return low > least or high < least + (1 << bits) - 1


def _signed(value: int) -> int:
    return value - (1 << 16) if value >> 15 else value
