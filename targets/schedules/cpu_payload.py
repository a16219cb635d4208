"""What a compressed weight's layout kept, decoded as far as the cpu kernels want it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from tilewright.formats.base import Encoded
from tilewright.formats.bits import unpack_bits
from tilewright.formats.codecs.astc.codec import Astc
from tilewright.formats.codecs.codebook import Codebook
from tilewright.formats.codecs.f16 import F16
from tilewright.formats.codecs.f32 import F32
from tilewright.formats.codecs.integer import Integer
from tilewright.formats.codecs.vbd import Vbd
from tilewright.formats.layouts.block_sparse import BlockSparse
from tilewright.formats.layouts.dense import Dense
from tilewright.formats.layouts.two_four import TwoFour
from tilewright.targets.packed_weights import CompressedWeight

Array = npt.NDArray[Any]
_HALF_DEPTH = 12  # bits of integers that are exact in float16


def _one() -> Array:
    return np.ones((1, 1), np.float32)


@dataclass(frozen=True)
class Payload:
    """Some rows of a weight.

    Attributes:
        values: [rows, kept columns]: integers in two's complement range, numbers of centroids, or floats.
        bits: of one.
        outputs: the matrix's rows that these are.
        index: [block rows, blocks] or None.
        scales: float [rows or 1, groups].
        group: kept columns of one; 0 where there is one group.
        zeros: integers to be subtracted from ``values``, [rows or 1, groups], or None.
        centroids: float32, or None.
        places: which two of every four columns are kept, as the format has it: [rows, fours], or None.
        at_load: ``values`` are decoded when the model is loaded; here zeros stand for them.
    """

    values: Array
    bits: int
    outputs: Array
    index: Array | None = None
    scales: Array = field(default_factory=_one)
    group: int = 0
    zeros: Array | None = None
    centroids: Array | None = None
    places: Array | None = None
    at_load: bool = False

    @property
    def is_integer(self) -> bool:
        """Whether there are integers that may meet bytes in a dot product."""
        return self.bits <= 8 and self.centroids is None

    @property
    def integers(self) -> Array:
        """``values`` less zero points, int16; of no use where there are none."""
        values = self.values.astype(np.int16) if self.is_integer else np.zeros((len(self.values), 1), np.int16)
        return values if self.zeros is None else values - self.spread(self.zeros).astype(np.int16)

    def spread(self, per_group: Array) -> Array:
        """One value a group as one a column, broadcastable to ``values``."""
        return np.repeat(per_group, self.group, axis=1)[:, : self.values.shape[1]] if self.group else per_group


def payloads_of(weight: CompressedWeight, lanes: int) -> tuple[Payload, ...] | str:
    """All rows of a weight but those that are zero by their depth, in parts of one depth each.

    Args:
        lanes: a part of fewer outputs than these takes the next greater depth.

    Returns:
        The reason instead, for formats that have no kernel.
    """
    form, arrays, shape = weight.format, weight.arrays, weight.unpack.payload
    codec, layout, height = form.codec, form.layout, 1
    base = Payload(np.zeros((0, 0)), 0, np.arange(weight.unpack.matrix[0]))
    if isinstance(layout, BlockSparse):
        height = layout.bh
        base = replace(base, index=arrays["index"].reshape(layout.grid(weight.unpack.matrix)[0], -1))
    elif isinstance(layout, TwoFour):
        fours = shape[1] // 2
        base = replace(base, places=unpack_bits(arrays["index"], 4, shape[0] * fours).reshape(shape[0], fours))
    elif not isinstance(layout, Dense):
        return f"no kernel reads {layout.spec} yet"
    if isinstance(codec, F32 | F16):
        return (replace(base, values=arrays["values"].reshape(shape), bits=16 if isinstance(codec, F16) else 32),)
    if isinstance(codec, Codebook):
        return (_clustered(base, codec, arrays, shape),)
    if isinstance(codec, Integer):
        return (_uniform(base, codec, arrays, shape),)
    if isinstance(codec, Astc) and isinstance(layout, BlockSparse):
        return (replace(base, values=np.zeros(shape, np.float32), bits=32, at_load=True),)
    if isinstance(codec, Vbd):
        return _by_depth(base, codec, arrays, shape, height, lanes)
    return f"no kernel reads {codec.spec} yet"


def _uniform(base: Payload, codec: Integer, arrays: Mapping[str, Array], shape: tuple[int, int]) -> Payload:
    scales = arrays["scales"].reshape(codec.scales_shape(shape))
    values, wide = codec.integers(Encoded({**arrays, "scales": scales}, shape))
    found = replace(base, values=values, bits=codec.bits, group=codec.group, scales=scales.reshape(wide.shape))
    if not codec.asymmetric:
        return found
    half = 1 << (codec.bits - 1)
    unsigned = unpack_bits(arrays["zero_points"], codec.bits, scales.size).reshape(wide.shape)
    zeros = unsigned.astype(np.int16) - half
    return replace(found, zeros=zeros, values=values + found.spread(zeros))


def _clustered(base: Payload, codec: Codebook, arrays: Mapping[str, Array], shape: tuple[int, int]) -> Payload:
    scales = arrays["scales"].reshape(-1, 1) if codec.scaled else _one()
    table = arrays["codebook"].ravel()
    numbers = codec.symbols(Encoded({**arrays, "codebook": table}, shape))
    return replace(base, values=numbers, bits=codec.bits, scales=scales, centroids=table.astype(np.float32))


def _by_depth(
    base: Payload, codec: Vbd, arrays: Mapping[str, Array], shape: tuple[int, int], height: int, lanes: int
) -> tuple[Payload, ...]:
    """Parts of whole block rows (of ``height``), each as deep as its deepest row; every row has a scale of its own."""
    values, depths, exponents = codec.integers(Encoded(arrays, shape))
    scales = np.ldexp(np.float32(1), exponents).astype(np.float32).reshape(-1, 1)
    kinds = [0, 2, 2, *range(3, 9), *[16] * (_HALF_DEPTH - 8), *[32] * (16 - _HALF_DEPTH)]  # bits by depth
    of_rows = np.array(kinds)[depths].reshape(-1, height).max(axis=1)
    parts = []
    for bits, chosen in _merged(of_rows, max(1, lanes // height)):
        rows = (np.flatnonzero(chosen)[:, None] * height + np.arange(height)).ravel()
        inside = rows[rows < len(base.outputs)]
        index = None if base.index is None else base.index[chosen]
        places = None if base.places is None else base.places[rows]
        parts.append(Payload(values[rows], bits, inside, index, scales[rows], places=places))
    return tuple(parts)


def _merged(bits: Array, least: int) -> Sequence[tuple[int, Array]]:
    """Block rows by their bits, ascending; fewer than ``least`` go with the next, but zeros stay out."""
    found: list[tuple[int, Array]] = []
    waiting = np.zeros(len(bits), bool)
    for kind in np.unique(bits[bits > 0]):
        waiting |= bits == kind
        if np.count_nonzero(waiting) >= least or kind == bits.max():
            found.append((int(kind), waiting))
            waiting = np.zeros(len(bits), bool)
    return found
