"""Ranges of activations: onnxruntime runs the float graph over calibration data, and histograms keep what it saw.

Methods, for any depth of 4 to 16 bits:

    minmax       the least and the greatest value seen
    percentile   cuts off (100 - p) / 2 percent of the values at either end
    mse          the least squared error of quantized values (Nagel et al. 2021, arXiv:2106.08295, section 3.1)
    kl           the least Kullback-Leibler divergence between values and quantized values, as in TensorRT (Migacz,
                 "8-bit Inference with TensorRT", GTC 2017); above 9 bits it would need finer bins, and is minmax
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from tilewright.errors import DataError, RecipeError
from tilewright.passes.execution import Feed, runner
from tilewright.passes.fake_quantize import fit
from tilewright.passes.histogram import SIDE, Histogram

Method = Literal["minmax", "percentile", "mse", "kl"]
Range = tuple[float, float]

_KL_BINS = 16  # for each integer: TensorRT's 2048 bins for the 128 magnitudes of int8
_KL_BITS = 9
_KL_SMOOTH = 1e-4


@dataclass(frozen=True)
class Statistics:
    """What calibration saw.

    Attributes:
        histograms: by tensor name; a tensor without floating-point data is not there.
        feeds: how many feeds were run.
    """

    histograms: Mapping[str, Histogram]
    feeds: int

    def range(self, tensor: str, method: Method, bits: int, percentile: float = 99.99) -> Range:
        """The range (low, high) of a tensor's values.

        Args:
            percentile: p in percent, in (0, 100]; for "percentile" alone.

        Raises:
            DataError: the tensor was not seen, or no finite value of it.
            RecipeError: an unknown method, or a percentile out of range.
        """
        if method not in get_args(Method):
            raise RecipeError(f"calibration method '{method}' is unknown; there are {', '.join(get_args(Method))}")
        if not 0 < percentile <= 100:
            raise RecipeError(f"percentile is {percentile}; it lies in (0, 100]")
        histogram = self.histograms.get(tensor)
        if histogram is None or not histogram.total:
            raise DataError(f"calibration saw no finite value of '{tensor}'")
        if method == "percentile":
            return _percentile(histogram, percentile)
        return _METHODS[method](histogram, bits)

    def ranges(self, method: Method, bits: int, percentile: float = 99.99) -> dict[str, Range]:
        """The range of every tensor with finite values; raises as ``range`` does."""
        return {
            name: self.range(name, method, bits, percentile)
            for name, histogram in self.histograms.items()
            if histogram.total
        }


def collect(model: ir.Model, feeds: Iterable[Feed], tensors: Sequence[str]) -> Statistics:
    """Runs a model over feeds and keeps the distribution of tensors.

    Memory: a histogram a tensor, and the tensors of one feed.

    Args:
        model: left unchanged; the tensors are inputs, or results anywhere in its main graph.
        feeds: inputs by name.

    Raises:
        DataError: there is no feed.
        ModelError: onnxruntime cannot run the model.
    """
    run = runner(model, tensors)
    histograms: dict[str, Histogram] = {}
    count = 0
    for feed in feeds:
        count += 1
        for name, array in run(feed).items():
            if array.dtype.kind == "f":
                histograms.setdefault(name, Histogram()).add(array)
    if not count:
        raise DataError("there is no calibration data; give at least one sample")
    return Statistics(histograms, count)


def _minmax(histogram: Histogram, bits: int) -> Range:
    return histogram.minimum, histogram.maximum


def _percentile(histogram: Histogram, percentile: float) -> Range:
    points, counts = histogram.points()
    below = np.cumsum(counts)
    cut = (100 - percentile) / 200 * below[-1]
    low = int(np.searchsorted(below, cut, side="right"))
    high = int(np.searchsorted(below, below[-1] - cut, side="left"))
    ends = (float(points[min(low, len(points) - 1)]), float(points[min(high, len(points) - 1)]))
    # The outermost bins hold the extremes; their means do not.
    return (histogram.minimum if low == 0 else ends[0], histogram.maximum if high >= len(points) - 1 else ends[1])


def _mse(histogram: Histogram, bits: int) -> Range:
    """Shrinks both sides together, then each alone, first in coarse steps, then around the best."""
    points, counts = histogram.points()
    low, high = min(histogram.minimum, 0.0), max(histogram.maximum, 0.0)
    if low == high:
        return low, high

    def error(factors: tuple[float, float]) -> float:
        difference = fit(low * factors[0], high * factors[1], bits).apply(points) - points
        return float(np.square(difference, dtype=np.float64) @ counts)

    best, least = (1.0, 1.0), error((1.0, 1.0))
    sides = [(True, True)] if low == 0 or high == 0 else [(True, True), (True, False), (False, True)]
    for steps in (np.linspace(0.1, 0.95, 18), np.linspace(0.92, 1.08, 17)):
        for moves in sides:
            centre = best
            for step in steps:
                factors = tuple(f * step if move else f for f, move in zip(centre, moves, strict=True))
                candidate = (min(factors[0], 1.0), min(factors[1], 1.0))
                found = error(candidate)
                if found < least:
                    best, least = candidate, found
    return float(low * best[0]), float(high * best[1])


def _kl(histogram: Histogram, bits: int) -> Range:
    """One threshold for magnitudes; zeros, which every quantizer keeps, do not count."""
    minimum, maximum = histogram.minimum, histogram.maximum
    levels = 2 ** (bits - 1) if minimum < 0 else 2**bits
    if bits > _KL_BITS or histogram.exponent is None:
        return minimum, maximum
    magnitudes = (histogram.counts[SIDE:] + histogram.counts[:SIDE][::-1]).astype(np.float64)
    magnitudes[0] -= histogram.zeros
    used = int(np.flatnonzero(histogram.counts[SIDE:] + histogram.counts[:SIDE][::-1])[-1]) + 1
    group = -(-used // (levels * _KL_BINS))
    bins = np.pad(magnitudes[:used], (0, -used % group)).reshape(-1, group).sum(axis=1)
    if len(bins) <= levels or not bins.any():
        return minimum, maximum
    thresholds = range(levels, len(bins) + 1, max(1, levels // 16))
    best = min(thresholds, key=lambda threshold: _divergence(bins, threshold, levels))
    edge = best * group * histogram.width
    return max(minimum, -edge), min(maximum, edge)


def _divergence(bins: npt.NDArray[np.float64], threshold: int, levels: int) -> float:
    """Of the distribution below a threshold, what lies above moved to its end, from its quantized form."""
    inside = bins[:threshold]
    clipped = inside.copy()
    clipped[-1] += bins[threshold:].sum()
    level = np.arange(threshold) * levels // threshold
    filled = inside > 0
    mass = np.bincount(level, weights=inside, minlength=levels)
    share = mass / np.maximum(np.bincount(level, weights=filled, minlength=levels), 1)
    quantized = np.where(filled, share[level], 0)
    p, q = (np.maximum(x / max(x.sum(), 1e-300), _KL_SMOOTH / threshold) for x in (clipped, quantized))
    return float(np.sum(np.where(clipped > 0, p * np.log(p / q), 0)))


_METHODS: Mapping[str, Callable[[Histogram, int], Range]] = {"minmax": _minmax, "mse": _mse, "kl": _kl}
