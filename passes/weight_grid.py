"""The integers of a quantized weight in the order of its matrix, and back: what passes that choose integers share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from tilewright.formats.base import Kept
from tilewright.formats.codecs.integer import Integer
from tilewright.formats.packed import PackedWeight, expand, symbol_bits
from tilewright.passes.layer_inputs import groups_of
from tilewright.passes.weights import Weight

Array = npt.NDArray[Any]


class WeightGrid:
    """A weight of a normalised model, packed as integers.

    Attributes:
        wanted: the float weight, float32 [groups, rows, columns]; groups is 1 but for grouped convolutions.
        nearest: the integers that are packed, as float32 of the same shape; 0 where nothing is kept.
        scale, low, high: of the same shape: what an integer is worth, and its limits.
    """

    def __init__(self, weight: Weight, packed: PackedWeight) -> None:
        """
        Raises:
            AssertionError: the weight is not packed as integers.
        """
        codec = packed.format.codec
        assert isinstance(codec, Integer)
        self._packed, self._codec = packed, codec
        self._index, self._encoded = expand(packed)
        self._groups = groups_of(weight)
        self._integers, _ = codec.integers(self._encoded)
        self.nearest = self._spread(self._integers.astype(np.float32))
        self.scale, self.low, self.high = (self._spread(part) for part in codec.grid(self._encoded))
        self.wanted = weight.matrix.reshape(self.scale.shape)

    @property
    def scalable(self) -> bool:
        """Whether every row of the matrix has a scale of its own and no zero point."""
        codec, packed = self._codec, self._packed
        dense = packed.format.layout.spec == "dense" and packed.payload_shape == packed.shape
        return dense and not codec.group and codec.per == "channel" and not codec.asymmetric

    def packed(self, integers: Array, scales: Array | None = None) -> PackedWeight:
        """The weight with other integers, of the shape of ``nearest``.

        Args:
            scales: of the rows, [groups, rows], where ``scalable``; None for the same.
        """
        encoded = self._codec.encode_integers(self._encoded, self._into_payload(integers.reshape(self._packed.shape)))
        changed = {"values": encoded.arrays["values"]}
        if scales is not None:
            old = self._encoded.arrays["scales"]
            changed["scales"] = np.ascontiguousarray(scales.reshape(old.shape), old.dtype)
        return _with_arrays(self._packed, changed)

    def _spread(self, payload: Array) -> Array:
        """From the payload to [groups, rows, columns] of the matrix."""
        packed = self._packed
        full = np.ascontiguousarray(np.broadcast_to(payload, self._encoded.shape), np.float32)
        unpacked = packed.format.layout.unpack(Kept(full, self._index, packed.shape))
        return unpacked.reshape(self._groups, -1, packed.shape[1])

    def _into_payload(self, matrix: Array) -> Array:
        """Integers of the matrix where the payload has them; padding keeps its own."""
        layout, shape, index = self._packed.format.layout, self._packed.payload_shape, self._index
        # where each element of the matrix stands in the payload: rows and columns apart, exact in float32
        places = [
            layout.unpack(
                Kept(np.ascontiguousarray(np.broadcast_to(numbers, shape), np.float32) + 1, index, self._packed.shape)
            )
            for numbers in (np.arange(shape[0])[:, None], np.arange(shape[1]))
        ]
        kept = places[0] > 0
        result = self._integers.astype(np.int32)
        row, column = (place[kept].astype(np.intp) - 1 for place in places)
        result[row, column] = matrix[kept].astype(np.int32)
        return result


def _with_arrays(packed: PackedWeight, changed: Mapping[str, Array]) -> PackedWeight:
    form = packed.format
    data = {
        role: form.storage.compress(array, symbol_bits(form.codec, role, array.dtype))
        for role, array in changed.items()
    }
    arrays = tuple(
        replace(stored, data=data[stored.role]) if stored.role in data else stored for stored in packed.arrays
    )
    return replace(packed, arrays=arrays)
