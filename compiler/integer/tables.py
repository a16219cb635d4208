"""Activations by table.

Sources: TFLite, kernels/internal/common.h (LUTPopulate, LUTLookup, sigmoid_table_uint16) and
reference/integer_ops/{tanh,logistic}.h; Vela, lut.py (the layout of Ethos-U's tables).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from tilewright.integer.rounding import Int

Function = Callable[[NDArray[np.float64]], NDArray[np.float64]]


def table8(function: Function, scale: float, zero: int, out_scale: float, out_zero: int) -> NDArray[np.int8]:
    """A function of int8: 256 values, the first for -128."""
    x = (np.arange(-128, 128, dtype=np.float64) - zero) * float(np.float32(scale))
    values = np.round(function(x) / float(np.float32(out_scale)))
    return np.clip(values + out_zero, -128, 127).astype(np.int8)


def look_up8(x: Int, table: NDArray[np.int8]) -> Int:
    """Values of a table with 256 entries at x, int8."""
    return table[x.astype(np.int64) + 128].astype(np.int64)


def look_up16(x: Int, bases: Int, slopes: Int) -> Int:
    """Interpolates a table with 512 entries of a base and a slope at x, int16: 7 bits between neighbours."""
    place = x.astype(np.int64) + 32768
    index, fraction = place >> 7, place & 127
    result: Int = bases[index] + ((slopes[index] * fraction + 64) >> 7)
    return result


KNOTS = 513
"""Entries of an interpolated table: the ends of 512 segments."""


def knots(bits: int) -> Int:
    """Where the entries of an interpolated table lie, counted from the least integer of a depth of 10 bits or more."""
    return np.arange(KNOTS) << bits - 9


def interpolate(place: Int, table: Int, bits: int) -> Int:
    """A function of integers of more than 9 bits: linear between the entries of a table, halves up.

    Args:
        place: integers counted from the least one of their depth.
        table: values at ``knots(bits)``.
        bits: their depth.
    """
    fraction = bits - 9
    index, rest = place >> fraction, place & (1 << fraction) - 1
    result: Int = table[index] + ((table[index + 1] - table[index]) * rest + (1 << fraction - 1) >> fraction)
    return result


def tanh16(x: Int) -> Int:
    """tanh of numbers with a scale of 1 / (3 * 4096), in units of 2^-15."""
    size = np.abs(x)
    index, fraction = np.minimum(size >> 8, 254), size & 0xFF
    value = (SIGMOID[index] << 8) + fraction * (SIGMOID[index + 1] - SIGMOID[index])
    value = np.where(size >> 8 >= 255, 0xFFFF << 8, value)
    one, half = 1 << 23, 1 << 7
    return np.where(x < 0, one - value + half - 1, value - one + half) >> 8


def sigmoid16(x: Int) -> Int:
    """The logistic function, likewise."""
    size = np.abs(x)
    index, fraction = np.minimum(size >> 9, 254), size & 0x1FF
    value = (SIGMOID[index] << 9) + fraction * (SIGMOID[index + 1] - SIGMOID[index])
    value = np.where(size >> 9 >= 255, 0x7FFF << 10, value)
    one, half = 1 << 25, 1 << 9
    return np.where(x < 0, one - value + half - 1, value + half) >> 10


# 65536 * sigmoid(i / 24) as TFLite tabulates it; some 40 entries are one more than the formula rounds to.
# fmt: off
SIGMOID = np.array([
    32768, 33451, 34133, 34813, 35493, 36169, 36843, 37513, 38180, 38841, 39498, 40149, 40794, 41432, 42064, 42688,
    43304, 43912, 44511, 45102, 45683, 46255, 46817, 47369, 47911, 48443, 48964, 49475, 49975, 50464, 50942, 51409,
    51865, 52311, 52745, 53169, 53581, 53983, 54374, 54755, 55125, 55485, 55834, 56174, 56503, 56823, 57133, 57433,
    57724, 58007, 58280, 58544, 58800, 59048, 59288, 59519, 59743, 59959, 60168, 60370, 60565, 60753, 60935, 61110,
    61279, 61441, 61599, 61750, 61896, 62036, 62172, 62302, 62428, 62549, 62666, 62778, 62886, 62990, 63090, 63186,
    63279, 63368, 63454, 63536, 63615, 63691, 63765, 63835, 63903, 63968, 64030, 64090, 64148, 64204, 64257, 64308,
    64357, 64405, 64450, 64494, 64536, 64576, 64614, 64652, 64687, 64721, 64754, 64786, 64816, 64845, 64873, 64900,
    64926, 64950, 64974, 64997, 65019, 65039, 65060, 65079, 65097, 65115, 65132, 65149, 65164, 65179, 65194, 65208,
    65221, 65234, 65246, 65258, 65269, 65280, 65291, 65301, 65310, 65319, 65328, 65337, 65345, 65352, 65360, 65367,
    65374, 65381, 65387, 65393, 65399, 65404, 65410, 65415, 65420, 65425, 65429, 65433, 65438, 65442, 65445, 65449,
    65453, 65456, 65459, 65462, 65465, 65468, 65471, 65474, 65476, 65479, 65481, 65483, 65485, 65488, 65489, 65491,
    65493, 65495, 65497, 65498, 65500, 65501, 65503, 65504, 65505, 65507, 65508, 65509, 65510, 65511, 65512, 65513,
    65514, 65515, 65516, 65517, 65517, 65518, 65519, 65520, 65520, 65521, 65522, 65522, 65523, 65523, 65524, 65524,
    65525, 65525, 65526, 65526, 65526, 65527, 65527, 65528, 65528, 65528, 65529, 65529, 65529, 65529, 65530, 65530,
    65530, 65530, 65531, 65531, 65531, 65531, 65531, 65532, 65532, 65532, 65532, 65532, 65532, 65533, 65533, 65533,
    65533, 65533, 65533, 65533, 65533, 65534, 65534, 65534, 65534, 65534, 65534, 65534, 65534, 65534, 65534, 65535,
], np.int64)
# fmt: on
