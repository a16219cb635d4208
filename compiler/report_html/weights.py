"""Sections that show each weight: bars, tables, histograms."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from tilewright.report import LayerReport, Report
from tilewright.report_html import charts
from tilewright.report_html.elements import ARROW, Column, cell, details, legend, name, numbers, section, swatch, table
from tilewright.report_html.figures import counted, number, shorten, size
from tilewright.report_html.markup import Markup, tag

SHOWN = 24  # bars and histograms that are open at once; the rest unfold

COLORS = 7
"""Colours there are for parts: CSS classes c0, c1, ... and "rest"."""

# Parts that look the same in every report; others take colours that are left.
_ROLES = ("values", "index", "scales", "codebook", "zero_points", "blocks", "depths")
_PADDING = "padding"


def bars(report: Report) -> Markup:
    """Bytes before and after, stacked by part, on one scale."""
    if not report.layers:
        return Markup()
    colors = part_colors(role for layer in report.layers for role in layer.parts)
    full = max(max(layer.bytes_before, layer.bytes) for layer in report.layers)

    def bar(layer: LayerReport) -> Markup:
        parts = ", ".join(f"{role} {nbytes:,}" for role, nbytes in layer.parts.items())
        label = f"{layer.layer}: {layer.bytes_before:,} bytes before, {layer.bytes:,} after ({parts})"
        sizes = (tag("span", size(layer.bytes_before)), ARROW, tag("span", size(layer.bytes)))
        return tag(
            "li",
            tag("span", name(shorten(layer.layer)), title=layer.layer, class_="name"),
            charts.bar(label, layer.bytes_before, layer.parts, full, colors),
            tag("span", *sizes, class_="figures"),
        )

    def listed(layers: Sequence[LayerReport]) -> Markup:
        axis = tag("li", tag("span"), charts.bar_axis(full), tag("span"), class_="head")
        return tag("ul", axis, *map(bar, layers), class_="bars")

    before = ("before, as float32", tag("rect", y=4, width=22, height=4, class_="before"))
    return section(
        "Bytes of each weight",
        "The largest first, on one scale. The thick bar is what the file stores.",
        legend(before, *((_spoken(role), swatch(color)) for role, color in colors.items())),
        *_folded(report.layers, listed),
        details("Bytes by part", _parts(report, list(colors))),
    )


def part_colors(roles: Iterable[str]) -> dict[str, str]:
    """A CSS class for each part, in the order in which legends and tables list them; padding is last and grey."""
    present = set(roles)
    known = [role for role in _ROLES if role in present]
    others = sorted(present - {*_ROLES, _PADDING})
    free = iter([f"c{place}" for place, role in enumerate(_ROLES) if role not in present])
    colors = {role: f"c{_ROLES.index(role)}" for role in known} | {role: next(free, "rest") for role in others}
    return colors | ({_PADDING: "rest"} if _PADDING in present else {})


def _folded(layers: Sequence[LayerReport], show: Callable[[Sequence[LayerReport]], Markup]) -> list[Markup]:
    """The largest weights, then the others in a fold."""
    largest = sorted(layers, key=lambda layer: -layer.bytes_before)
    rest = largest[SHOWN:]
    return [show(largest[:SHOWN]), *([details(f"{len(rest)} smaller", show(rest))] if rest else [])]


def _spoken(role: str) -> str:
    return role.replace("_", " ")


def _parts(report: Report, roles: Sequence[str]) -> Markup:
    rows = [
        [_head(layer), *numbers(*(layer.parts.get(role) for role in roles), layer.bytes)] for layer in report.layers
    ]
    sums = [sum(layer.parts.get(role, 0) for layer in report.layers) for role in roles]
    total = [tag("th", "all weights", scope="row"), *numbers(*sums, report.bytes)]
    return table([("layer", "name"), *((_spoken(role), "n") for role in roles), ("sum", "n")], rows, total, True)


def formats(report: Report) -> Markup:
    """What each format is used for; nothing where all weights have the same."""
    groups: dict[str, list[LayerReport]] = {}
    for layer in report.layers:
        groups.setdefault(layer.format, []).append(layer)
    if len(groups) < 2:
        return Markup()
    rows = []
    for spec, layers in sorted(groups.items(), key=lambda item: -sum(layer.bytes for layer in item[1])):
        before, after, elements = (
            sum(map(figure, layers))
            for figure in (_bytes_before, lambda layer: layer.bytes, lambda layer: layer.elements)
        )
        rows.append(
            [
                tag("th", tag("code", spec), scope="row"),
                *numbers(len(layers), elements),
                cell(8 * after / elements if elements else None, "{:.2f}"),
                *numbers(before, after),
                cell(after / report.bytes if report.bytes else None, "{:.1%}"),
            ]
        )
    heads = ("weights", "elements", "bits/w", "bytes before", "after", "of all")
    return section("Formats", "", table([("format", ""), *((head, "n") for head in heads)], rows, sortable=True))


def _bytes_before(layer: LayerReport) -> int:
    return layer.bytes_before


def layers(report: Report) -> Markup:
    """The table of all weights, without columns that have nothing to say."""
    if not report.layers:
        return Markup()
    rows = report.layers
    shapes = ["\N{MULTIPLICATION SIGN}".join(map(str, row.shape)) for row in rows]
    columns: list[tuple[Column, list[Markup], Markup]] = [
        (("#", "n"), numbers(*range(1, len(rows) + 1)), tag("td")),
        (("layer", "name"), [_head(row, row.note) for row in rows], tag("th", "all weights", scope="row")),
        (("format", ""), [tag("td", tag("code", row.format)) for row in rows], tag("td")),
        (
            ("shape", "n"),
            [tag("td", shape, class_="n", data_v=row.elements) for shape, row in zip(shapes, rows, strict=True)],
            tag("td"),
        ),
        (
            ("bits/w", "n"),
            numbers(*(row.bits_per_weight for row in rows), form="{:.2f}"),
            cell(report.bits_per_weight, "{:.2f}"),
        ),
        (("bytes before", "n"), numbers(*(row.bytes_before for row in rows)), cell(report.bytes_before)),
        (("after", "n"), numbers(*(row.bytes for row in rows)), cell(report.bytes)),
    ]
    for head, values, form in (
        ("act. bits", [row.activations for row in rows], "{}"),
        ("kept", [row.kept for row in rows], "{:.1%}"),
        ("SNR dB", [row.snr for row in rows], "{:.1f}"),
        ("output error", [row.output_error for row in rows], "{:.1e}"),
    ):
        if any(value is not None for value in values):
            columns.append(((head, "n"), numbers(*values, form=form), tag("td")))
    heads, cells, totals = zip(*columns, strict=True)
    lead = (
        "Kept: share of the magnitude that is not pruned. SNR: of the stored weight against the original. "
        "Output error: relative L2 error of the layer's output on calibration data, all layers before it included."
    )
    return section("Layers", lead, table(heads, list(zip(*cells, strict=True)), totals, sortable=True))


def _head(layer: LayerReport, note: str = "") -> Markup:
    detail = tag("small", f"{layer.operator} \N{MIDDLE DOT} ", name(shorten(layer.weight, 48)), class_="detail")
    return tag("th", name(layer.layer), detail, note and tag("small", note, class_="note"), class_="name", scope="row")


def histograms(report: Report) -> Markup:
    """Weights before and after, as small multiples."""
    changed = [layer for layer in report.layers if layer.histogram and layer.histogram.before != layer.histogram.after]
    if not changed:
        return Markup()
    lead = "The largest first; heights are square roots of counts, so that few show beside many."
    unchanged = len(report.layers) - len(changed)
    if unchanged:
        lead += f" Left out: {counted(unchanged, 'weight')} without a visible change."

    def panels(layers: Sequence[LayerReport]) -> Markup:
        return tag("div", *map(_panel, layers), class_="panels")

    colors = legend(("before", swatch("before")), ("after", swatch("after")))
    return section("Distribution of weights", lead, colors, *_folded(changed, panels))


def _panel(layer: LayerReport) -> Markup:
    assert layer.histogram is not None
    limit = number(layer.histogram.limit, "{:.3g}")
    ends = (f"\N{MINUS SIGN}{limit}", "0", limit)
    label = f"Weights of {layer.layer} before and after, from {ends[0]} to {limit}"
    facts = [layer.format] + ([f"{number(layer.snr, '{:.1f}')} dB"] if layer.snr is not None else [])
    return tag(
        "figure",
        tag("figcaption", tag("b", name(shorten(layer.layer)), title=layer.layer), ", ".join(facts)),
        charts.histogram(label, layer.histogram),
        tag("div", *(tag("span", end) for end in ends), class_="limits"),
    )
