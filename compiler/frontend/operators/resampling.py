"""Resize and Upsample: positions and weights are worked out at compile time, one axis at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from tvm import te, tirx

from tilewright.frontend.operators.elementwise import is_float
from tilewright.frontend.operators.layer import Array, Expr, Layer, Operator, Refusal, const

_UNROLL = 4  # taps up to here become one expression that fuses; more become a reduction


@dataclass(frozen=True)
class Taps:
    """How one axis is resampled: output o is the sum over t of weights[o, t] * input[indices[o, t]].

    Attributes:
        indices: [outputs, taps], within the input.
        weights: [outputs, taps], or None for a plain selection by one tap.
        outside: [outputs], where the extrapolation value is to be taken, or None.
    """

    indices: Array
    weights: Array | None
    outside: Array | None


@dataclass(frozen=True)
class _Settings:
    mode: str
    transform: str
    nearest: str
    cubic: float
    antialias: bool
    exclude_outside: bool


def _resize(layer: Layer) -> Expr:
    if layer.opset < 11:
        scales = layer.constant(1, "scales")
        settings = _Settings(layer.text("mode", "nearest"), "asymmetric", "floor", -0.75, False, False)
        return _resample(layer, settings, _floats(scales), None)
    mode = layer.text("mode", "nearest")
    settings = _Settings(
        mode,
        layer.text("coordinate_transformation_mode", "half_pixel"),
        layer.text("nearest_mode", "round_prefer_floor"),
        layer.number("cubic_coeff_a", -0.75),
        bool(layer.integer("antialias", 0)),
        bool(layer.integer("exclude_outside", 0)),
    )
    roi, scales = layer.constant(1, "roi"), layer.constant(2, "scales")
    sizes = layer.constant(3, "sizes")
    axes = [layer.positive(axis, layer.rank()) for axis in layer.integers("axes", range(layer.rank()))]
    factors = [1.0] * layer.rank()
    given = _floats(scales) if scales is not None and scales.size else _from_sizes(layer, axes, sizes)
    for axis, factor in zip(axes, given, strict=True):
        factors[axis] = factor
    return _resample(layer, settings, factors, _regions(layer, axes, roi, settings))


def _from_sizes(layer: Layer, axes: Sequence[int], sizes: Array | None) -> list[float]:
    if sizes is None or not sizes.size:
        raise Refusal("neither scales nor sizes are given")
    factors = [size / layer.shape()[axis] for axis, size in zip(axes, sizes.tolist(), strict=True)]
    policy = layer.text("keep_aspect_ratio_policy", "stretch")
    if policy == "stretch":
        return factors
    return [min(factors) if policy == "not_larger" else max(factors)] * len(factors)


def _regions(
    layer: Layer, axes: Sequence[int], roi: Array | None, settings: _Settings
) -> list[tuple[float, float]] | None:
    if settings.transform != "tf_crop_and_resize":
        return None
    if roi is None or roi.size != 2 * len(axes):
        raise Refusal("tf_crop_and_resize needs a region of interest of two numbers an axis")
    regions = [(0.0, 1.0)] * layer.rank()
    for position, axis in enumerate(axes):
        regions[axis] = (float(roi[position]), float(roi[len(axes) + position]))
    return regions


def _upsample(layer: Layer) -> Expr:
    """Upsample was replaced by Resize in opset 10."""
    scales = layer.numbers("scales", ()) if layer.has("scales") else _floats(layer.constant(1, "scales"))
    mode = layer.text("mode", "nearest")
    return _resample(layer, _Settings(mode, "asymmetric", "floor", -0.75, False, False), scales, None)


def _floats(array: Array | None) -> list[float]:
    if array is None:
        raise Refusal("scales are missing")
    return [float(item) for item in array.reshape(-1)]


def _resample(
    layer: Layer, settings: _Settings, factors: Sequence[float], regions: Sequence[tuple[float, float]] | None
) -> Expr:
    if settings.mode not in ("nearest", "linear", "cubic"):
        raise Refusal(f"mode '{settings.mode}' is not supported")
    if settings.mode != "nearest" and not is_float(layer.dtype()):
        raise Refusal(f"interpolation of {layer.dtype()} is not supported", "cast to float32 before it")
    x, border = layer[0], layer.number("extrapolation_value", 0.0)
    for axis in reversed(range(layer.rank())):
        size, out = layer.shape()[axis], layer.out_shape()[axis]
        region = None if regions is None else regions[axis]
        if size == out and abs(factors[axis] - 1.0) < 1e-9 and region in (None, (0.0, 1.0)):
            continue
        taps = axis_taps(settings, size, out, factors[axis], region)
        x = resample_axis(layer, x, axis, taps, border)
    return x


def axis_taps(settings: _Settings, size: int, out: int, factor: float, region: tuple[float, float] | None) -> Taps:
    """Positions and weights along one axis, in float64."""
    at, outside = _source(settings.transform, size, out, factor, region)
    if settings.mode == "nearest":
        return Taps(np.clip(_nearest(at, settings.nearest), 0, size - 1)[:, None], None, outside)
    left = np.floor(at)
    # A position right on a pixel belongs to the interval that ends there: its fraction is 1, not 0.
    left = np.where(left == at, left - 1, left)
    fraction = at - left
    indices, weights = _kernel(settings, left, fraction, factor)
    if settings.exclude_outside:
        weights = np.where((indices < 0) | (indices >= size), 0.0, weights)
        total = weights.sum(axis=1, keepdims=True)
        weights = weights / np.where(total == 0, 1.0, total)
    return Taps(np.clip(indices, 0, size - 1), weights, outside)


def _source(
    transform: str, size: int, out: int, factor: float, region: tuple[float, float] | None
) -> tuple[Array, Array | None]:
    """The position in the input of each output, and which lie outside of the image."""
    o, exact = np.arange(out, dtype=np.float64), factor * size  # exact: the output size before rounding
    if transform == "align_corners":
        return (np.zeros(out) if exact == 1 else o * (size - 1) / (exact - 1)), None
    if transform == "asymmetric":
        return o / factor, None
    if transform == "tf_half_pixel_for_nn":
        return (o + 0.5) / factor, None
    if transform == "half_pixel" or (transform == "pytorch_half_pixel" and exact != 1):
        return (o + 0.5) / factor - 0.5, None
    if transform == "pytorch_half_pixel":
        return np.full(out, -0.5), None
    if transform == "half_pixel_symmetric":
        return size / 2 * (1 - out / exact) + (o + 0.5) / factor - 0.5, None
    if transform == "tf_crop_and_resize" and region is not None:
        start, end = region
        span = (
            np.full(out, (end - start) * (size - 1) / 2) if exact == 1 else o * (end - start) * (size - 1) / (exact - 1)
        )
        at = span + start * (size - 1)
        return at, (at < 0) | (at > size - 1)
    raise Refusal(f"coordinate transformation '{transform}' is not supported")


def _nearest(at: Array, mode: str) -> Array:
    rounding: Mapping[str, Callable[[Array], Array]] = {
        "round_prefer_floor": lambda v: np.ceil(v - 0.5),
        "round_prefer_ceil": lambda v: np.floor(v + 0.5),
        "floor": np.floor,
        "ceil": np.ceil,
    }
    if mode not in rounding:
        raise Refusal(f"nearest mode '{mode}' is not supported")
    return np.asarray(rounding[mode](at)).astype(np.int64)


def _kernel(settings: _Settings, left: Array, fraction: Array, factor: float) -> tuple[Array, Array]:
    """The taps around each position and their weights; antialias stretches the kernel over its footprint."""
    stretch = min(factor, 1.0) if settings.antialias else 1.0
    radius = 1 if settings.mode == "linear" else 2
    first = int(np.floor(-radius / stretch)) + 1
    offsets = np.arange(first, 2 - first)
    distance = np.abs(offsets - fraction[:, None]) * stretch
    if settings.mode == "linear":
        weights = np.clip(1 - distance, 0, 1)
    else:
        a = settings.cubic
        inner = ((a + 2) * distance - (a + 3)) * distance**2 + 1
        outer = ((a * distance - 5 * a) * distance + 8 * a) * distance - 4 * a
        weights = np.where(distance <= 1, inner, np.where(distance < 2, outer, 0.0))
    if settings.antialias:
        weights = weights / weights.sum(axis=1, keepdims=True)
    return left[:, None].astype(np.int64) + offsets, weights


def resample_axis(layer: Layer, x: Expr, axis: int, taps: Taps, border: float) -> Expr:
    """Applies taps to one axis of x."""
    shape, dtype = [int(dim) for dim in x.ty.shape], layer.dtype()
    shape[axis] = taps.indices.shape[0]
    step = _regular(taps)
    tables = [] if step is not None else [const(taps.indices, "int32")]
    tables += [const(taps.weights, dtype)] if taps.weights is not None else []
    tables += [const(taps.outside, "bool")] if taps.outside is not None else []

    def compute(data: Any, *table: Any) -> Any:
        rest = list(table)
        chosen: Any = None if step is not None else rest.pop(0)
        weight: Any = None if taps.weights is None else rest.pop(0)
        outside: Any = None if taps.outside is None else rest.pop(0)
        count = taps.indices.shape[1]
        k = te.reduce_axis((0, count), name="tap") if count > _UNROLL else None

        def at(*index: Any) -> Any:
            o = index[axis]

            def tap(t: Any) -> Any:
                source = tirx.floordiv(o, step) if step is not None else chosen(o, t)
                value = data(*index[:axis], source, *index[axis + 1 :])
                return value if weight is None else value * weight(o, t)

            if k is not None:
                return te.sum(tap(k), axis=k)
            total = tap(0)
            for t in range(1, count):
                total = total + tap(t)
            return total if outside is None else tirx.Select(outside(o), tirx.const(border, dtype), total)

        result = te.compute(shape, at, name="resize")
        if k is None or outside is None:
            return result
        fill = tirx.const(border, dtype)
        return te.compute(shape, lambda *i: tirx.Select(outside(i[axis]), fill, result(*i)), name="resize_border")

    return layer.te(compute, x, *tables, name="resize")


def _regular(taps: Taps) -> int | None:
    """The factor of a nearest upsampling that repeats every element alike, which needs no table."""
    if taps.weights is not None or taps.outside is not None:
        return None
    outputs = taps.indices.shape[0]
    size = int(taps.indices.max()) + 1
    factor = -(-outputs // size)
    return factor if (taps.indices[:, 0] == np.arange(outputs) // factor).all() else None


OPERATORS: Mapping[str, Operator] = {
    "Resize": Operator(_resize, "constant scales or sizes; interpolation of floating point only"),
    "Upsample": Operator(_upsample, "constant scales"),
}
