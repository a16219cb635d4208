"""``codebook(k)``: every weight is one of k centroids of its tensor (Deep Compression, Han et al., 2016).

    values     uint8, a bit stream (see bits.py) of ceil(log2 k)-bit centroid numbers in row-major order
    codebook   float16 [k], ascending
    scales     ``codebook(k,scaled)`` alone: float32 [rows], by which the centroids of a row are multiplied

Channels of trained networks differ in range, above all where batch norm was folded into them, and small ones are lost
to a codebook for all. With scales, rows are clustered at equal root mean square; then each row's scale is the one of
the least squared error.

k-means runs from two starts and the smaller error wins: centroids spread evenly over [minimum, maximum], and spread
with the cube root of the weights' density, which is optimal for many centroids (Panter and Dite, 1951) and spares the
even start's slow convergence there. Empty centroids move to the clusters with the largest error. When exact zeros are
more than one k-th of the weights, one centroid stays at zero, so that pruned weights stay pruned.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tilewright.errors import ArtifactError
from tilewright.formats.base import Array, Encoded, Matrix
from tilewright.formats.bits import pack_bits, packed_nbytes, unpack_bits
from tilewright.formats.checks import checked, half
from tilewright.formats.clipping import weighted_points
from tilewright.formats.element import Element, Extents, Loads, Ops, Value, symbol

_ITERATIONS = 1000  # of Lloyd's algorithm for a start, in all
_MOVES = 20  # rounds of moving empty centroids
_CHUNK = 1 << 20
_BINS = 4096  # of the density estimate

Vector = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Codebook:
    """k centroids.

    Attributes:
        k: 2 to 256.
        scaled: every row has a scale.
    """

    k: int
    scaled: bool = False

    def __post_init__(self) -> None:
        if not 2 <= self.k <= 256:
            raise ValueError(f"k is {self.k}; a codebook has 2 to 256 centroids")

    @property
    def bits(self) -> int:
        return (self.k - 1).bit_length()

    @property
    def spec(self) -> str:
        return f"codebook({self.k}{',scaled' if self.scaled else ''})"

    @property
    def symbol_bits(self) -> Mapping[str, int]:
        return {"values": self.bits, "codebook": 16, "scales": 32}

    def packed_bytes(self, shape: tuple[int, int]) -> int:
        scales = 4 * shape[0] if self.scaled else 0
        return packed_nbytes(shape[0] * shape[1], self.bits) + 2 * self.k + scales

    def encode(self, payload: Matrix) -> Encoded:
        """Clusters the weights and rounds the centroids to fp16.

        Raises:
            DataError: NaN, infinity, or a largest magnitude outside fp16's normal range.
        """
        matrix = checked(payload)
        if self.scaled:
            matrix = matrix / _root_mean_squares(matrix)[:, None]
        points, counts = weighted_points(matrix.ravel())
        half(points, "weights", "scale the layer or use an integer format for it")
        order = np.argsort(points[0])
        centroids = kmeans(points[0, order].astype(np.float64), counts[order].astype(np.float64), self.k)
        return self.encode_with(payload, centroids.astype(np.float32))

    def encode_with(self, payload: Matrix, centroids: npt.NDArray[np.floating]) -> Encoded:
        """Assigns every weight to the nearest of k given centroids, for example trained ones, rounded to fp16.

        With scales, centroids are those of rows whose root mean square is one.

        Raises:
            DataError: NaN or infinity in either; centroids outside fp16's range.
            ValueError: not k centroids.
        """
        matrix = checked(payload)
        if centroids.shape != (self.k,):
            raise ValueError(f"{self.spec} with centroids of shape {list(centroids.shape)}")
        table = np.sort(half(checked(centroids[None, :]), "centroids", "scale the layer"))[0]
        wide = table.astype(np.float32)
        borders = (wide[1:] + wide[:-1]) / 2
        unit = matrix / _root_mean_squares(matrix)[:, None] if self.scaled else matrix
        flat = unit.ravel()
        symbols = np.empty(flat.size, np.uint8)
        for first in range(0, flat.size, _CHUNK):
            symbols[first : first + _CHUNK] = np.searchsorted(borders, flat[first : first + _CHUNK])
        arrays: dict[str, Array] = {"values": pack_bits(symbols, self.bits), "codebook": table}
        if self.scaled:
            arrays["scales"] = _best_scales(matrix, wide[symbols].reshape(matrix.shape))
        return Encoded(arrays, (matrix.shape[0], matrix.shape[1]))

    def decoder(self, ops: Ops, loads: Loads, shape: Extents) -> Element:
        def element(row: Value, column: Value) -> Value:
            centroid = loads["codebook"][symbol(ops, loads["values"], row * shape[1] + column, self.bits)]
            return centroid * loads["scales"][row] if self.scaled else centroid

        return element

    def symbols(self, encoded: Encoded) -> npt.NDArray[np.uint8]:
        """Centroid numbers, uint8 of the payload's shape.

        Raises:
            ArtifactError: arrays that do not fit the shape, or a number without a centroid.
        """
        if encoded.arrays["codebook"].shape != (self.k,):
            raise ArtifactError(f"{self.spec}: codebook of shape {list(encoded.arrays['codebook'].shape)}")
        rows, columns = encoded.shape
        try:
            symbols = unpack_bits(encoded.arrays["values"], self.bits, rows * columns)
        except ValueError as error:
            raise ArtifactError(f"{self.spec}: {error}") from None
        if symbols.size and int(symbols.max()) >= self.k:
            raise ArtifactError(f"{self.spec}: centroid {int(symbols.max())}")
        return symbols.reshape(rows, columns)

    def decode(self, encoded: Encoded) -> Matrix:
        """The centroid of each weight, times the scale of its row.

        Raises:
            ArtifactError: arrays that do not fit the shape, or a number without a centroid.
        """
        centroids: Matrix = encoded.arrays["codebook"].astype(np.float32)[self.symbols(encoded)]
        if not self.scaled:
            return centroids
        scales = encoded.arrays["scales"]
        if scales.shape != encoded.shape[:1]:
            raise ArtifactError(f"{self.spec}: scales of shape {list(scales.shape)}")
        return centroids * scales[:, None]


def _root_mean_squares(matrix: Matrix) -> Matrix:
    """Of each row, float32; 1 for rows of zeros."""
    largest = np.maximum(matrix.max(axis=1), -matrix.min(axis=1))
    unit = matrix / np.where(largest > 0, largest, 1)[:, None]  # squares of tiny or huge weights leave float32
    found: Matrix = largest * np.sqrt(np.square(unit).mean(axis=1))
    return np.where(found > 0, found, np.float32(1))


def _best_scales(matrix: Matrix, centroids: Matrix) -> Matrix:
    """The scale of each row with the least squared error, float32."""
    norm = np.einsum("rc,rc->r", centroids, centroids, dtype=np.float64)
    product = np.einsum("rc,rc->r", matrix, centroids, dtype=np.float64)
    scales: Matrix = np.divide(product, norm, out=np.zeros_like(norm), where=norm > 0).astype(np.float32)
    return scales


def kmeans(points: Vector, counts: Vector, k: int) -> Vector:
    """Centroids float64 [k], ascending, of ascending points that count several times each.

    One step costs O(k log n): clusters of a sorted line are ranges, whose sums are differences of prefix sums.
    """
    if len(points) <= k:
        return np.concatenate([points, np.full(k - len(points), points[-1])])
    sums = _prefix(counts), _prefix(counts * points), _prefix(counts * points**2)
    total = sums[0][-1]
    zero = int(np.searchsorted(points, 0.0))
    keep_zero = zero < len(points) and points[zero] == 0 and counts[zero] * k > total
    starts = np.linspace(points[0], points[-1], k), _companded(points, counts, k)
    found = [_settle(points, sums, start, keep_zero) for start in starts]
    return min(found, key=lambda result: result[0])[1]


def _companded(points: Vector, counts: Vector, k: int) -> Vector:
    """Centroids spread with the cube root of the density, which is measured in bins that widen with the magnitude."""
    core = float(np.abs(points) @ counts / counts.sum()) / 16
    histogram, warped = np.histogram(np.arcsinh(points / core), _BINS, weights=counts)
    edges = np.sinh(warped) * core
    mass = _prefix(np.cbrt(histogram * np.diff(edges) ** 2))
    spread: Vector = np.interp((np.arange(k) + 0.5) / k * mass[-1], mass, edges)
    return spread


def _settle(
    points: Vector, sums: tuple[Vector, Vector, Vector], centroids: Vector, keep_zero: bool
) -> tuple[float, Vector]:
    """Squared error and centroids after Lloyd's algorithm, with empty centroids moved to where they help."""
    left = _ITERATIONS
    for move in range(_MOVES):
        centroids, edges, left = _lloyd(points, sums, centroids, keep_zero, left)
        weight, first, second = (np.diff(prefix[edges]) for prefix in sums)
        error = second - 2 * centroids * first + centroids**2 * weight
        empty = np.flatnonzero(weight == 0)
        if not empty.size or not left or move == _MOVES - 1:
            break
        worst = np.argsort(-error, kind="stable")[: empty.size]
        # Between the old centroid and the cluster's end: the next step splits the cluster between the two.
        centroids[empty[: worst.size]] = (centroids[worst] + points[np.maximum(edges[worst + 1] - 1, 0)]) / 2
        centroids.sort()
    return float(error.sum()), centroids


def _lloyd(
    points: Vector, sums: tuple[Vector, Vector, Vector], centroids: Vector, keep_zero: bool, left: int
) -> tuple[Vector, npt.NDArray[np.intp], int]:
    """Runs to a fixed point: centroids, edges of their ranges of points [k + 1], iterations left."""
    edges = np.zeros(len(centroids) + 1, np.intp)
    while left:
        left -= 1
        if keep_zero:
            centroids[np.argmin(np.abs(centroids))] = 0.0
        inner = np.searchsorted(points, (centroids[1:] + centroids[:-1]) / 2)
        found = np.concatenate([[0], inner, [len(points)]])
        if np.array_equal(found, edges):
            break
        edges = found
        weight, first = np.diff(sums[0][edges]), np.diff(sums[1][edges])
        centroids = np.divide(first, weight, out=centroids.copy(), where=weight > 0)
    return centroids, edges, left


def _prefix(values: Vector) -> Vector:
    return np.concatenate([[0.0], np.cumsum(values)])
