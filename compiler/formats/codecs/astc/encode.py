"""Our encoder: one partition, one plane, luminance endpoints (CEM 0), the same block mode in every block.

Khronos Data Format Specification, chapter "ASTC Compressed Texture Image Formats", section "Block Encoding". A kernel
that knows the block mode decodes such a block by bit fields, a table and one interpolation. Endpoints start at bit 17:
with 256 levels e0 is bits 17 to 24, e1 bits 25 to 32. Weight n in raster order is, with 2**B levels, the B bits
from bit 127 - n * B downward, lowest first; with other levels three or five weights share digits (see ise).

For every block the encoder looks for the two endpoints with the least squared error. From several starts (the block's
range, shrunk about its middle) it alternates between the nearest weights for the endpoints and the least-squares
endpoints for the weights, goes on with the best of them, and rounds the endpoints. Where the whole range without
refinement is better it takes that, so a block is never worse than plain quantisation between its extremes.

Arrays hold one row a texel, [texels, blocks]: every step is one NumPy operation over all blocks.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import numpy.typing as npt

from tilewright.formats.codecs.astc import endpoints, infill, ise, modes, quantization

F32 = npt.NDArray[np.float32]
_FINE = 512  # steps between the endpoints in the table of nearest weights
_STARTS = 5
_TRIAL_STEPS = 2  # refinements of every start
_LAST_STEPS = 2  # and then of the best


@dataclass(frozen=True)
class Scheme:
    """How all blocks of a tensor are encoded.

    Attributes:
        footprint: width and height of a block in texels.
        mode: of one plane; its grid may be smaller than the footprint.
    """

    footprint: tuple[int, int]
    mode: modes.Mode

    @property
    def endpoint_range(self) -> ise.Range:
        """Of both endpoints: the finest that the weights leave room for."""
        kind = modes.endpoint_range(2, modes.BLOCK_BITS - modes.ENDPOINTS_AT - self.mode.weight_bits)
        if kind is None:
            raise ValueError(f"{self.mode} leaves no room for endpoints")
        return kind

    @property
    def direct(self) -> bool:
        """Whether every texel has a weight of its own."""
        return (self.mode.width, self.mode.height) == self.footprint

    def check(self) -> None:
        """Raises ValueError where no legal block has this mode."""
        width, height = self.footprint
        levels = [n for n in modes.WEIGHT_LEVELS if modes.exists(replace(self.mode, levels=n))]
        if self.mode.levels not in levels:
            raise ValueError(f"{width}x{height} blocks take weights of {levels} levels, not {self.mode.levels}")


# The finest weights that leave room for legal endpoints: one for each texel where 64 suffice, else in the smaller grid
# that gives the highest SNR on normally distributed texels. Weights of 96 bits leave endpoints 160 levels, others 256.
_FINEST = {
    (4, 4): modes.Mode(4, 4, 32),
    (5, 4): modes.Mode(5, 4, 24),
    (5, 5): modes.Mode(5, 5, 12),
    (6, 5): modes.Mode(6, 5, 8),
    (6, 6): modes.Mode(6, 6, 6),
    (8, 5): modes.Mode(8, 5, 5),
    (8, 6): modes.Mode(8, 6, 4),
    (10, 5): modes.Mode(10, 5, 3),
    (10, 6): modes.Mode(10, 6, 3),
    (8, 8): modes.Mode(8, 8, 2),
    (10, 8): modes.Mode(10, 6, 3),
    (10, 10): modes.Mode(10, 6, 3),
    (12, 10): modes.Mode(12, 5, 3),
    (12, 12): modes.Mode(12, 5, 3),
}


def scheme_of(footprint: tuple[int, int], levels: int | None = None) -> Scheme:
    """The scheme of a footprint.

    Args:
        footprint: one of ``modes.FOOTPRINTS``.
        levels: of a weight, for a kernel that wants a power of two; by default those of the highest SNR.

    Raises:
        ValueError: that many levels are not legal, or do not fit.
    """
    mode = _FINEST[footprint]
    scheme = Scheme(footprint, mode if levels is None else replace(mode, levels=levels))
    scheme.check()
    return scheme


def encode(texels: F32, scheme: Scheme) -> npt.NDArray[np.uint8]:
    """Encodes blocks.

    Args:
        texels: float32 [texels, blocks] in 0 to 255 (the unit of endpoints), in raster order.

    Returns:
        uint8 [blocks, 16].
    """
    low, high = texels.min(axis=0), texels.max(axis=0)
    middle, half = (low + high) / 2, (high - low) / 2
    plain = _rounded(low, high, scheme)
    most = np.full_like(low, -1)
    for shrink in _starts(scheme.mode.levels):
        trial_low, trial_high, explained = middle - half * shrink, middle + half * shrink, most
        for _ in range(_TRIAL_STEPS):
            trial_low, trial_high, explained = _refine(texels, trial_low, trial_high, scheme)
        better = explained > most
        low, high = np.where(better, trial_low, low), np.where(better, trial_high, high)
        most = np.maximum(explained, most)
    for _ in range(_LAST_STEPS):
        low, high, _ = _refine(texels, low, high, scheme)
    refined = _rounded(low, high, scheme)
    better = _error(texels, refined, scheme) < _error(texels, plain, scheme)
    best = np.where(better, refined, plain)
    low, high = _values(best, scheme)
    weights = _tables(scheme.mode.levels)[1].take(_place(texels, low, high, scheme), mode="clip")
    return _pack(best, weights, scheme)


def _starts(levels: int) -> F32:
    """Factors on a block's range: the fewer levels, the more the outermost texels may be cut off."""
    return np.linspace(1, 0.6 if levels <= 8 else 0.88, _STARTS, dtype=np.float32)


def _rounded(low: F32, high: F32, scheme: Scheme) -> ise.Symbols:
    """The symbols of the endpoints, uint8 [2, blocks]."""
    whole = np.rint(np.stack([low, high])).clip(0, 255).astype(np.uint8)
    return quantization.nearest_endpoint(scheme.endpoint_range)[whole]


def _values(symbols: ise.Symbols, scheme: Scheme) -> tuple[F32, F32]:
    low, high = quantization.endpoint_values(scheme.endpoint_range)[symbols].astype(np.float32)
    return low, high


@cache
def _tables(levels: int) -> tuple[F32, ise.Symbols]:
    """For a place between the endpoints in steps of 1 / _FINE: the nearest weight in 0 to 1, and its symbol."""
    values = quantization.weight_values(levels) / np.float32(64)
    nearest = np.abs(np.arange(_FINE + 1)[:, None] / _FINE - values).argmin(axis=1)
    return values[nearest].astype(np.float32), nearest.astype(np.uint8)


@cache
def _projection(footprint: tuple[int, int], grid: tuple[int, int]) -> tuple[F32, F32]:
    """The matrices from grid to texels, and back by least squares."""
    forward = infill.matrix(footprint, grid) / 16
    return forward.astype(np.float32), np.linalg.pinv(forward).astype(np.float32)


def _place(texels: F32, low: F32, high: F32, scheme: Scheme) -> npt.NDArray[np.intp]:
    """Where every weight lies between the endpoints, in steps of 1 / _FINE; may lie outside. intp [weights, blocks]."""
    span = high - low
    slope = np.divide(np.float32(_FINE), span, out=np.zeros_like(span), where=np.abs(span) > 1e-3)
    place = texels * slope
    place += np.float32(0.5) - low * slope
    if not scheme.direct:
        backward = _projection(scheme.footprint, (scheme.mode.width, scheme.mode.height))[1]
        place = backward @ place
    steps: npt.NDArray[np.intp] = place.astype(np.intp)
    return steps


def _weights(texels: F32, low: F32, high: F32, scheme: Scheme) -> F32:
    """The weight of every texel, in 0 to 1, for given endpoints."""
    weights = _tables(scheme.mode.levels)[0].take(_place(texels, low, high, scheme), mode="clip")
    if not scheme.direct:
        weights = _projection(scheme.footprint, (scheme.mode.width, scheme.mode.height))[0] @ weights
    return weights


def _error(texels: F32, ends: ise.Symbols, scheme: Scheme) -> F32:
    """Squared error of every block."""
    low, high = _values(ends, scheme)
    difference = _weights(texels, low, high, scheme)
    difference *= high - low
    difference += low
    difference -= texels
    return _dots(difference, difference)


def _dots(left: F32, right: F32) -> F32:
    """The scalar product of every block's texels."""
    products: F32 = np.einsum("tb,tb->b", left, right)
    return products


def _refine(texels: F32, low: F32, high: F32, scheme: Scheme) -> tuple[F32, F32, F32]:
    """The least-squares endpoints for the weights that suit the given ones, and the squares that they explain."""
    count = np.float32(len(texels))
    weights = _weights(texels, low, high, scheme)
    sum_w, sum_x = weights.sum(axis=0), texels.sum(axis=0)
    spread = count * _dots(weights, weights) - sum_w * sum_w
    solvable = spread > 1e-3  # else all weights are equal
    covariance = count * _dots(weights, texels) - sum_w * sum_x
    slope = np.divide(covariance, spread, out=high - low, where=solvable)
    start = np.where(solvable, (sum_x - slope * sum_w) / count, low)
    return start, start + slope, np.where(solvable, slope * covariance, 0)


def _pack(ends: ise.Symbols, weights: ise.Symbols, scheme: Scheme) -> npt.NDArray[np.uint8]:
    """Blocks of endpoint symbols [2, blocks] and weight symbols [weights, blocks]."""
    words = ise.reverse(ise.encode(weights, scheme.mode.weight_range))
    ise.deposit(words, modes.ENDPOINTS_AT, ise.encode(ends, scheme.endpoint_range)[0])
    words[0] |= np.uint64(modes.code_of(scheme.mode) | endpoints.LUMINANCE << 13)
    return ise.blocks_of(words)
