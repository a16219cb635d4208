"""Layout, codec and storage put together: a matrix in, counted bytes out, and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tilewright.errors import ArtifactError
from tilewright.formats.base import Codec, Encoded, Kept, Layout, Matrix
from tilewright.formats.checks import checked
from tilewright.formats.registry import Format, parse

_PAYLOAD_ROLES = ("values", "blocks")
PADDING = "padding"  # the part of the values that pads a matrix whose sides the layout does not divide


@dataclass(frozen=True)
class Stored:
    """One array in the file.

    Attributes:
        role: "values", "index", "scales", "zero_points", "codebook" ...
        dtype: NumPy's little-endian name, for example "<u2".
        shape: of the array.
        data: what the storage made of it.
    """

    role: str
    dtype: str
    shape: tuple[int, ...]
    data: bytes

    @property
    def nbytes(self) -> int:
        """Bytes once expanded."""
        return int(np.prod(self.shape, dtype=np.int64)) * np.dtype(self.dtype).itemsize


@dataclass(frozen=True)
class PackedWeight:
    """A compressed matrix.

    Attributes:
        format: what it was packed with.
        shape: rows and columns of the matrix.
        payload_shape: rows and columns of what the layout keeps, padding included.
        padded: how many elements of the payload lie outside the matrix.
        arrays: index arrays of the layout, then arrays of the codec.
    """

    format: Format
    shape: tuple[int, int]
    payload_shape: tuple[int, int]
    padded: int
    arrays: tuple[Stored, ...]

    @property
    def nbytes(self) -> int:
        """Bytes in the file."""
        return sum(len(stored.data) for stored in self.arrays)

    @property
    def expanded_nbytes(self) -> int:
        """Bytes in memory."""
        return sum(stored.nbytes for stored in self.arrays)

    @property
    def bits_per_weight(self) -> float:
        """File bits for each weight of the uncompressed matrix."""
        return self.nbytes * 8 / (self.shape[0] * self.shape[1])

    @property
    def sizes(self) -> dict[str, int]:
        """File bytes by role; their sum is ``nbytes``.

        "padding" is the share of the values that padded elements have by number, rounded down.
        """
        sizes: dict[str, int] = {}
        for stored in self.arrays:
            sizes[stored.role] = sizes.get(stored.role, 0) + len(stored.data)
        elements = self.payload_shape[0] * self.payload_shape[1]
        for role in _PAYLOAD_ROLES:
            if role in sizes and self.padded:
                padding = sizes[role] * self.padded // elements
                sizes[role] -= padding
                sizes[PADDING] = padding
        return sizes


def pack(matrix: npt.ArrayLike, form: Format | str, density: float | None = None) -> PackedWeight:
    """Compresses a float32 matrix [output channels, inputs of one].

    Args:
        matrix: its zeros must have the layout's structure, unless ``density`` is given.
        form: a format or its spec.
        density: prune by magnitude to this share of the weights first, in (0, 1].

    Raises:
        DataError: NaN or infinity, zeros without the layout's structure, magnitudes that the codec cannot hold.
        RecipeError: a spec or density that cannot be.
    """
    form = parse(form) if isinstance(form, str) else form
    weights = checked(matrix)
    if density is not None:
        weights = np.where(form.layout.prune(weights, density), weights, np.float32(0))
    kept = form.layout.pack(weights)
    encoded = form.codec.encode(kept.payload)
    arrays = []
    for part, named in ((form.layout, kept.index), (form.codec, encoded.arrays)):
        for role, array in named.items():
            data = form.storage.compress(array, symbol_bits(part, role, array.dtype))
            arrays.append(Stored(role, array.dtype.newbyteorder("<").str, array.shape, data))
    # Elements that unpacking drops are padding.
    inside = form.layout.unpack(Kept(np.ones_like(kept.payload), kept.index, kept.shape))
    padded = kept.payload.size - int(np.count_nonzero(inside))
    return PackedWeight(form, kept.shape, encoded.shape, padded, tuple(arrays))


def unpack(packed: PackedWeight) -> Matrix:
    """The matrix as kernels see it.

    Raises:
        ArtifactError: damaged arrays.
    """
    index, encoded = expand(packed)
    try:
        payload = packed.format.codec.decode(encoded)
        return packed.format.layout.unpack(Kept(payload, index, packed.shape))
    except KeyError as error:
        raise ArtifactError(f"{packed.format.spec}: there is no array of {error.args[0]}") from None


def expand(packed: PackedWeight) -> tuple[Mapping[str, npt.NDArray[Any]], Encoded]:
    """The layout's index arrays, and the codec's arrays, as they lie in memory when a kernel runs.

    Raises:
        ArtifactError: damaged arrays.
    """
    arrays: dict[str, npt.NDArray[Any]] = {}
    for stored in packed.arrays:
        flat = packed.format.storage.expand(stored.data, stored.nbytes)
        if flat.size != stored.nbytes:
            raise ArtifactError(f"{stored.role}: {flat.size} bytes where {stored.nbytes} belong")
        arrays[stored.role] = flat.view(stored.dtype).reshape(stored.shape)
    index = {role: array for role, array in arrays.items() if role in _roles(packed.format.layout)}
    rest = {role: array for role, array in arrays.items() if role not in index}
    return index, Encoded(rest, packed.payload_shape)


def symbol_bits(part: Layout | Codec, role: str, dtype: np.dtype[Any]) -> int:
    """Width of the packed symbols in one of a part's arrays, from its attribute ``symbol_bits`` or else the dtype."""
    named: Mapping[str, int] = getattr(part, "symbol_bits", {})
    return named.get(role, 8 * dtype.itemsize)


def _roles(layout: Layout) -> frozenset[str]:
    return frozenset(getattr(layout, "symbol_bits", ("index",)))


def snr_db(original: npt.ArrayLike, decoded: npt.ArrayLike) -> float:
    """Signal to noise ratio in dB: 10 log10(sum w**2 / sum (w - d)**2); infinite where nothing was lost."""
    signal = noise = 0.0
    for w, d in zip(np.atleast_2d(original), np.atleast_2d(decoded), strict=True):
        exact = w.astype(np.float64)
        signal += float(exact @ exact)
        exact -= d
        noise += float(exact @ exact)
    if noise == 0:
        return float("inf")
    return float(10 * np.log10(signal / noise)) if signal else float("-inf")


def kept_magnitude(matrix: npt.ArrayLike, mask: npt.NDArray[np.bool_]) -> float:
    """Share of the magnitude, sum of |w|, that a mask of the same shape keeps; 1 for a matrix of zeros."""
    magnitude = np.abs(np.asarray(matrix, np.float32))
    total = float(magnitude.sum(dtype=np.float64))
    return float(magnitude.sum(dtype=np.float64, where=mask)) / total if total else 1.0
