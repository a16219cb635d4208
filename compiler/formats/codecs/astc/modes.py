"""ASTC block modes: the size of the weight grid, the levels of a weight, and which combinations are legal.

Khronos Data Format Specification, chapter "ASTC Compressed Texture Image Formats", sections "Block Mode" and "Illegal
Encodings".
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from tilewright.formats.codecs.astc import ise

FOOTPRINTS = (
    (4, 4),
    (5, 4),
    (5, 5),
    (6, 5),
    (6, 6),
    (8, 5),
    (8, 6),
    (10, 5),
    (10, 6),
    (8, 8),
    (10, 8),
    (10, 10),
    (12, 10),
    (12, 12),
)
BLOCK_BITS = 128
BLOCK_BYTES = 16
MODE_BITS = 11
VOID = 0x1FC  # the lowest nine bits of a void extent
ENDPOINTS_AT = 17  # first bit of the endpoints of a block with one partition
ENDPOINTS_OF_MANY_AT = 29  # and with several
MIN_ENDPOINT_LEVELS = 6
MOST_WEIGHTS, MOST_WEIGHT_BITS = 64, 96

WEIGHT_LEVELS = (2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 24, 32)


@dataclass(frozen=True)
class Mode:
    """What the lowest eleven bits of a block say.

    Attributes:
        width, height: of the weight grid.
        levels: values that a weight can have, one of ``WEIGHT_LEVELS``.
        dual: two weights at each place, for two planes.
    """

    width: int
    height: int
    levels: int
    dual: bool = False

    @property
    def weights(self) -> int:
        """Weights stored in a block."""
        return self.width * self.height * (2 if self.dual else 1)

    @property
    def weight_range(self) -> ise.Range:
        return ise.BY_LEVELS[self.levels]

    @property
    def weight_bits(self) -> int:
        return self.weight_range.length(self.weights)

    @property
    def legal(self) -> bool:
        """Whether the weights are as many as a block may have, and fit it."""
        return self.weights <= MOST_WEIGHTS and 24 <= self.weight_bits <= MOST_WEIGHT_BITS

    def fits(self, footprint: tuple[int, int]) -> bool:
        """Whether the weight grid is no larger than the footprint."""
        return self.width <= footprint[0] and self.height <= footprint[1]


@cache
def parse(code: int) -> Mode | None:
    """The mode of an 11-bit code; None where the code is reserved or not legal. Void extent is not a mode: None."""
    low, high = code >> 5 & 3, code >> 7 & 3
    rho = code >> 4 & 1
    precise, dual = code >> 9 & 1, code >> 10 & 1
    if code & 3:
        rho |= (code & 3) << 1
        layout = code >> 2 & 3
        if layout == 0:
            size = (high + 4, low + 2)
        elif layout == 1:
            size = (high + 8, low + 2)
        elif layout == 2:
            size = (low + 2, high + 8)
        elif high < 2:
            size = (low + 2, high + 6)
        else:
            size = (high, low + 2)
    else:
        rho |= (code >> 2 & 3) << 1
        if high == 0:
            size = (12, low + 2)
        elif high == 1:
            size = (low + 2, 12)
        elif high == 2:
            size = (low + 6, (code >> 9 & 3) + 6)
            precise = dual = 0
        elif low < 2:
            size = ((6, 10), (10, 6))[low]
        else:
            return None
    if rho < 2:
        return None
    mode = Mode(*size, WEIGHT_LEVELS[rho - 2 + 6 * precise], bool(dual))
    return mode if mode.legal else None


@cache
def _codes() -> dict[Mode, int]:
    codes: dict[Mode, int] = {}
    for code in range(1 << MODE_BITS):
        mode = parse(code)
        if mode is not None:
            codes.setdefault(mode, code)
    return codes


def exists(mode: Mode) -> bool:
    """Whether some code says this mode, and so it is legal in footprints that it fits."""
    return mode in _codes()


def code_of(mode: Mode) -> int:
    """The lowest 11-bit code of a mode.

    Raises:
        ValueError: no code says this: the grid, or its number of bits, is not legal.
    """
    code = _codes().get(mode)
    if code is None:
        raise ValueError(f"ASTC has no block mode for {mode}")
    return code


def legal_modes(footprint: tuple[int, int]) -> list[int]:
    """Every code that is legal for a footprint."""
    return [code for code in range(1 << MODE_BITS) if (mode := parse(code)) is not None and mode.fits(footprint)]


@cache
def endpoint_range(values: int, bits: int) -> ise.Range | None:
    """The finest range in which ``values`` endpoint values take at most ``bits``; None where that is not legal."""
    fitting = [r for r in ise.RANGES if r.levels >= MIN_ENDPOINT_LEVELS and r.length(values) <= bits]
    return fitting[-1] if fitting else None
