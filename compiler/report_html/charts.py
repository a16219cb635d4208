"""Charts of a report as SVG, drawn by hand: no library, no script, colours by CSS class (style.py).

Bars, histograms and ranges stretch to the width they are given, so they hold no text; their labels are HTML beside
them. The front has a fixed width in CSS pixels and is drawn once for screens and once for phones.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

from tilewright.report import FrontPoint, Histogram, PivotReport
from tilewright.report_html.figures import number, power_of_ten, share, size
from tilewright.report_html.markup import Markup, tag

Scale = Callable[[float], float]
"""From a value to a coordinate."""

Amount = Callable[[float], str]
"""How a size is written."""

Tick = tuple[float, str]
"""A value on an axis, and its label."""

_Box = tuple[float, float, float, float]  # left, top, right, bottom

_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 20, 30, 46  # margins of the front
_DOTS = 80  # points of a curve that are marked; more would hide it
_TICK = 72  # pixels for a tick's label on the axis of sizes
_LETTER, _LINE = 6.6, 14  # pixels of a letter, at most on average, and of a line of labels
_DECADES_APART = 1.3  # errors that span more than this many decades are drawn on a logarithmic axis


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """About ``count`` round values (1, 2 or 5 times a power of ten apart) in [low, high]."""
    if not high > low:
        return [low]
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [step * n for n in range(first, last + 1)]


def decades(low: float, high: float) -> range:
    """Whole exponents in [low, high]; every second, third ... one if there are more than seven."""
    first, last = math.ceil(low - 1e-9), math.floor(high + 1e-9)
    return range(first, last + 1, max(1, math.ceil((last - first + 1) / 7)))


def bar(label: str, before: int, parts: Mapping[str, int], full: float, colors: Mapping[str, str]) -> Markup:
    """Bytes of a weight: before as a thin bar, after as a stack of its parts.

    Args:
        full: bytes of the whole width.
        colors: CSS class of each part.
    """
    shapes = [tag("rect", x=0, y=1, width=_percent(before, full), height=4, class_="before")]
    return tag("svg", *shapes, *_stack(parts, full, colors, 7), role="img", aria_label=label, class_="bar")


def stack(label: str, parts: Mapping[str, int], colors: Mapping[str, str]) -> Markup:
    """What a whole is made of, at full width."""
    shapes = _stack(parts, sum(parts.values()), colors, 0)
    return tag("svg", *shapes, role="img", aria_label=label, class_="stack")


def _stack(parts: Mapping[str, int], full: float, colors: Mapping[str, str], y: int) -> list[Markup]:
    shapes: list[Markup] = []
    start = 0
    for role, nbytes in parts.items():
        place = {"x": _percent(start, full), "width": _percent(nbytes, full)}
        title = tag("title", f"{role}: {nbytes:,} bytes")
        shapes.append(tag("rect", title, y=y, height=11, class_=colors[role], **place))
        if start and nbytes > full / 200:  # a gap, unless it would hide the part
            shapes.append(tag("rect", x=place["x"], y=y, width=1, height=11, class_="gap"))
        start += nbytes
    return shapes


def _percent(part: float, whole: float) -> str:
    return f"{100 * part / whole if whole else 0:.3f}%"


def bar_axis(full: float) -> Markup:
    """Labels over bars whose whole width is ``full`` bytes."""
    marks = []
    for value in ticks(0, full, 4):
        near_end = value > 0.93 * full
        anchor = "start" if not value else "end" if near_end else "middle"
        marks += [
            tag("rect", x=_percent(value, full), y=16, width=1, height=4, class_="tick"),
            tag("text", size(value), x=_percent(value, full), y=12, text_anchor=anchor),
        ]
    return tag("svg", *marks, class_="bar-axis", aria_hidden="true")


def histogram(label: str, counts: Histogram) -> Markup:
    """Weights before as an area and after as bars; heights are square roots of counts, so that few show beside many."""
    top = max(*counts.before, *counts.after, 1)
    bins = len(counts.before)

    def y(count: int) -> str:
        return f"{100 - 96 * math.sqrt(count / top):.1f}"

    area = "".join(f"V{y(count)}H{at + 1}" for at, count in enumerate(counts.before))
    bars = "".join(f"M{at}.15 100V{y(count)}h.7V100z" for at, count in enumerate(counts.after) if count)
    shapes = [tag("path", d=f"M0 100{area}V100z", class_="before"), tag("path", d=bars, class_="after")]
    view = {"viewBox": f"0 0 {bins} 100", "preserveAspectRatio": "none"}
    return tag("svg", *shapes, role="img", aria_label=label, class_="histogram", **view)


def pivot(kept: PivotReport) -> Markup:
    """What blocks keep, what pivoted blocks keep, and what a free choice would, on a scale from 0 to 100 %."""
    shares = {"unpivoted": kept.unpivoted, "pivoted": kept.pivoted, "unstructured": kept.unstructured}
    if not all(map(math.isfinite, shares.values())):
        return Markup()
    at = {name: _percent(value, 1) for name, value in shares.items()}
    titles = {name: tag("title", f"{name} {share(value, 1)}") for name, value in shares.items()}
    gain = _percent(max(0.0, kept.pivoted - kept.unpivoted), 1)
    shapes = [
        tag("rect", x=0, y=8, width="100%", height=2, class_="before"),
        tag("rect", x=at["unpivoted"], y=7, width=gain, height=4, class_="after"),
        tag("rect", titles["unstructured"], x=at["unstructured"], y=2, width=2, height=14, class_="tick"),
        tag("circle", titles["pivoted"], cx=at["pivoted"], cy=9, r=4, class_="after"),
        tag("circle", titles["unpivoted"], cx=at["unpivoted"], cy=9, r=5, class_="hollow"),
    ]
    label = f"{kept.layer}: " + ", ".join(f"{name} {share(value, 1)}" for name, value in shares.items())
    return tag("svg", *shapes, role="img", aria_label=label, class_="range")


def front(
    points: Sequence[FrontPoint], width: int, height: int, axis: str = "size of the weights", amount: Amount = size
) -> Markup:
    """The predicted curve, what was measured, the choice, and the same format for all weights.

    Args:
        points: by size, at least one; predicted errors are finite, measured ones that are not are left out.
        axis, amount: what sizes are of, and how one is written.
    """
    measured = [(point, point.measured) for point in points if point.measured is not None]
    measured = [(point, error) for point, error in measured if math.isfinite(error)]
    x, x_ticks = _sizes([point.bytes for point in points], width, amount)
    errors = [point.error for point in points] + [error for _, error in measured]
    y, y_ticks = _errors(errors, height)
    bottom, right = height - _BOTTOM, width - _RIGHT
    shapes = []
    for value, label in y_ticks:
        shapes += [
            tag("line", x1=_LEFT, x2=right, y1=y(value), y2=y(value), class_="grid"),
            tag("text", label, x=_LEFT - 8, y=y(value) + 4, text_anchor="end"),
        ]
    for value, label in x_ticks:
        shapes += [
            tag("line", x1=x(value), x2=x(value), y1=bottom, y2=bottom + 4, class_="axis"),
            tag("text", label, x=x(value), y=bottom + 18, text_anchor="middle"),
        ]
    shapes += [
        tag("line", x1=_LEFT, x2=right, y1=bottom, y2=bottom, class_="axis"),
        tag("text", axis, x=right, y=height - 6, text_anchor="end", class_="title"),
    ]
    chosen = [point for point in points if point.chosen]
    for point in chosen[:1]:
        at = x(point.bytes)
        caption = f"chosen: {amount(point.bytes)}"
        anchor = "start" if at < _LEFT + 60 else "end" if at > right - 60 else "middle"
        shapes += [
            tag("line", x1=at, x2=at, y1=_TOP - 8, y2=bottom, class_="drop"),
            tag("text", caption, x=at, y=_TOP - 14, text_anchor=anchor, class_="strong"),
        ]
    curve = _lower_envelope(points)
    path = "L".join(f"{x(point.bytes):.1f} {y(point.error):.1f}" for point in curve)
    shapes.append(tag("path", d=f"M{path}", class_="predicted"))
    mixed = [point for point in points if not point.uniform]
    dotted = mixed if len(mixed) <= _DOTS else chosen
    shapes += [_dot(x(p.bytes), y(p.error), amount(p.bytes), "predicted", p.error, 2.5) for p in dotted]
    uniform = [point for point in points if point.uniform]
    shapes += [_square(x(p.bytes), y(p.error), p, amount) for p in uniform]
    lines = [(x(p.bytes) - 2, 0.0, x(p.bytes) + 2, math.inf) for p in chosen[:1]]
    lines += [(x(a.bytes), y(a.error) - 2, x(b.bytes), y(b.error) + 2) for a, b in pairwise(curve)]
    shapes += _names([(x(p.bytes), y(p.error), p.uniform) for p in uniform], right, lines)
    shapes += [_dot(x(p.bytes), y(error), amount(p.bytes), "measured", error, 4) for p, error in measured]
    shapes += [tag("circle", cx=x(p.bytes), cy=y(p.error), r=8, class_="chosen") for p in chosen]
    label = f"Error over size for {len(points)} choices of formats, {len(measured)} of them measured; figures below"
    view = {"viewBox": f"0 0 {width} {height}"}
    return tag("svg", *shapes, role="img", aria_label=label, **view)


def _lower_envelope(points: Sequence[FrontPoint]) -> list[FrontPoint]:
    """Points that no smaller one equals or beats; a choice may lie above them, since it is made by what is measured."""
    least = math.inf
    curve = []
    for point in points:
        if point.error < least:
            curve.append(point)
            least = point.error
    return curve


def _dot(x: float, y: float, at: str, kind: str, error: float, radius: float) -> Markup:
    title = tag("title", f"{at}: {kind} error {number(error, '{:.2e}')}")
    return tag("circle", title, cx=x, cy=y, r=radius, class_=f"{kind}-dot")


def _square(x: float, y: float, point: FrontPoint, amount: Amount) -> Markup:
    """The same format for every weight."""
    title = tag("title", f"{point.uniform} everywhere, {amount(point.bytes)}: predicted error {point.error:.2e}")
    return tag("rect", title, x=x - 4, y=y - 4, width=8, height=8, class_="uniform")


def _names(squares: Sequence[tuple[float, float, str]], right: float, drawn: Sequence[_Box]) -> list[Markup]:
    """Names beside squares (x, y, format), as far as there is room; what all formats have in common is left out.

    Args:
        right: the end of the room.
        drawn: what else is there.
    """
    common = set.intersection(*(set(spec.split()) for _, _, spec in squares)) if len(squares) > 1 else set()
    taken = [(x - 5, y - 5, x + 5, y + 5) for x, y, _ in squares] + list(drawn)
    shapes = []
    for x, y, spec in sorted(squares):
        name = " ".join(word for word in spec.split() if word not in common)
        wide = _LETTER * len(name)
        for start, base in (
            (x + 9, y + 4),
            (x + 9, y - 7),
            (x - wide / 2, y - 14),
            (x - 9 - wide, y + 4),
            (x - wide, y - 7),
        ):
            box = (start, base - _LINE + 4, start + wide, base + 3)
            inside = start >= _LEFT and box[2] <= right and box[1] >= _TOP - 8
            if name and inside and not any(_overlap(box, other) for other in taken):
                taken.append(box)
                shapes.append(tag("text", name, x=start, y=base, class_="named"))
                break
    return shapes


def _overlap(a: _Box, b: _Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _sizes(values: Sequence[float], width: int, amount: Amount) -> tuple[Scale, list[Tick]]:
    """Scale, and ticks with labels; no label twice, where sizes differ by less than labels tell."""
    low, high = min(values), max(values)
    margin = 0.04 * (high - low) or 0.5 * high or 1
    low, high = max(0, low - margin), high + margin
    scale = (width - _LEFT - _RIGHT) / (high - low)
    by_label = {amount(value): (value, amount(value)) for value in ticks(low, high, width // _TICK)}
    return lambda value: _LEFT + (value - low) * scale, list(by_label.values())


def _errors(values: Sequence[float], height: int) -> tuple[Scale, list[Tick]]:
    """Scale, and ticks with labels; logarithmic if errors span decades: zero lies on the lower edge then."""
    inner = height - _TOP - _BOTTOM
    positive = [value for value in values if value > 0]
    if positive and math.log10(max(positive) / min(positive)) > _DECADES_APART:
        low, high = math.log10(min(positive)), math.log10(max(positive))
        margin = 0.06 * (high - low)
        low, high = low - margin, high + margin

        def logarithmic(value: float) -> float:
            return _TOP + inner * (high - (math.log10(value) if value > 0 else low)) / (high - low)

        return logarithmic, [(10.0**n, power_of_ten(n)) for n in decades(low, high)]
    top = 1.06 * max(positive, default=1.0)
    return lambda value: _TOP + inner * (1 - value / top), [(tick, number(tick, "{:g}")) for tick in ticks(0, top, 4)]
