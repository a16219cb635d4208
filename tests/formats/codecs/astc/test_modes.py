"""Block modes: codes and their meaning are inverse, and legality is what the specification says."""

from __future__ import annotations

import pytest

from tilewright.formats.codecs.astc import modes
from tilewright.formats.codecs.astc.modes import Mode


def test_codes_and_modes_are_inverse() -> None:
    legal = {code: mode for code in range(2048) if (mode := modes.parse(code)) is not None}
    for code, mode in legal.items():
        assert legal[modes.code_of(mode)] == mode
        assert modes.code_of(mode) <= code


@pytest.mark.parametrize(
    ("mode", "code"),
    [
        # Bits of the range r2 r1 r0 and precision, with the grid, put together by hand from the specification's table.
        (Mode(4, 4, 32), 1 << 9 | 0 << 7 | 2 << 5 | 1 << 4 | 0 << 2 | 0b11),
        (Mode(9, 3, 3), 0 << 9 | 1 << 7 | 1 << 5 | 1 << 4 | 1 << 2 | 0b01),
        (Mode(3, 8, 4), 0 << 9 | 0 << 7 | 1 << 5 | 0 << 4 | 2 << 2 | 0b10),
        (Mode(3, 5, 12), 1 << 9 | 1 << 8 | 1 << 7 | 3 << 5 | 1 << 4 | 3 << 2 | 0b01),
        (Mode(12, 5, 3), 0 << 9 | 3 << 5 | 1 << 4 | 0b01 << 2),
        (Mode(5, 12, 2), 0 << 9 | 1 << 7 | 3 << 5 | 0 << 4 | 0b01 << 2),
        (Mode(6, 10, 3), 0 << 9 | 3 << 7 | 1 << 4 | 0b01 << 2),
        (Mode(10, 6, 2), 0 << 9 | 3 << 7 | 1 << 5 | 0 << 4 | 0b01 << 2),
        (Mode(6, 6, 6), 0 << 9 | 2 << 7 | 0 << 5 | 0 << 4 | 0b11 << 2),
        (Mode(8, 8, 2), 2 << 9 | 2 << 7 | 2 << 5 | 0 << 4 | 0b01 << 2),
        (Mode(4, 4, 3, dual=True), 1 << 10 | 0 << 7 | 2 << 5 | 1 << 4 | 0 << 2 | 0b01),
    ],
)
def test_codes_by_hand(mode: Mode, code: int) -> None:
    assert modes.parse(code) == mode


def test_illegal_codes() -> None:
    assert modes.parse(0) is None  # reserved
    assert modes.parse(0x1FC) is None  # void extent is not a block mode
    for mode in (Mode(12, 6, 2), Mode(4, 4, 2), Mode(5, 5, 16), Mode(8, 8, 3)):  # too many, too short, too long
        assert not modes.exists(mode)
        with pytest.raises(ValueError, match="no block mode"):
            modes.code_of(mode)


def test_legal_modes_fit_the_footprint() -> None:
    for footprint in modes.FOOTPRINTS:
        found = [modes.parse(code) for code in modes.legal_modes(footprint)]
        assert all(mode is not None and mode.fits(footprint) and mode.legal for mode in found)
    assert len(modes.FOOTPRINTS) == 14


def test_endpoint_range() -> None:
    # Two values need 6 bits, 13 * 2 / 5 rounded up, and take at most 16; 15 bits hold two values of 160 levels.
    assert modes.endpoint_range(2, 5) is None
    levels = [kind.levels for bits in range(6, 20) if (kind := modes.endpoint_range(2, bits)) is not None]
    assert levels == [8, 10, 16, 20, 32, 40, 64, 80, 128, 160, 256, 256, 256, 256]
