"""The report of a compression as one HTML page, complete without a network, a script or another file.

Sizes are decimal (1 kB is 1,000 bytes); exact bytes stand in the tables.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from tilewright import __version__
from tilewright.files import replace_file
from tilewright.report import FrontPoint, GateReport, PivotReport, Report
from tilewright.report_html import charts, weights
from tilewright.report_html.elements import ARROW, cell, details, legend, name, numbers, section, swatch, table
from tilewright.report_html.figures import counted, duration, number, ratio, share, size, toml
from tilewright.report_html.markup import Markup, join, tag
from tilewright.report_html.style import SCRIPT, STYLE

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
_FILES = {"onnx": "ONNX file", "artifact": "artifact"}


def write(report: Report) -> str:
    """The page.

    Args:
        report: of any number of weights; figures may be missing, infinite or NaN, and names any text.
    """
    title = report.model or "model"
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("title", f"{title}: compression report"),
        tag("style", STYLE),
    )
    body = tag(
        "main",
        tag("p", "Tilewright compression report", class_="kicker"),
        tag("h1", title),
        _headline(report),
        _notes(report),
        _front(report),
        weights.bars(report),
        weights.formats(report),
        weights.layers(report),
        weights.histograms(report),
        _pivots(report),
        _file(report),
        _recipe(report),
        tag("footer", f"Tilewright {__version__}. 1 kB is 1,000 bytes, 1 MB is 1,000,000 bytes."),
    )
    return f"<!DOCTYPE html>\n{tag('html', head, tag('body', body, tag('script', SCRIPT)), lang='en')}\n"


def save(report: Report, path: str | Path) -> None:
    """Writes the page whole or not at all.

    Raises:
        TilewrightError: the file cannot be written, for example for lack of space.
    """
    replace_file(path, [write(report).encode()], "the report")


def _headline(report: Report) -> Markup:
    change = join(size(report.bytes_before), ARROW, size(report.bytes))
    smaller = f"{ratio(report.bytes_before, report.bytes)} smaller than float32"
    average = f"average of {counted(len(report.layers), 'weight')}, all parts counted"
    tiles = [_tile("Weights", change, smaller), _tile("Bits per weight", f"{report.bits_per_weight:.2f}", average)]
    if report.file:
        whole = f"{report.file_bytes:,} bytes, {share(report.bytes, report.file_bytes)} of them weights"
        tiles.append(_tile(f"File ({_kind(report)})", size(report.file_bytes), whole))
    if report.gate is not None:
        tiles.append(_gate(report.gate))
    return tag("dl", *tiles, class_="tiles")


def _tile(name: str, value: str, detail: str) -> Markup:
    return tag("div", tag("dt", name), tag("dd", value, class_="big"), tag("dd", tag("small", detail)))


def _gate(gate: GateReport) -> Markup:
    before, after, drop, allowed = (
        number(value, "{:.4f}") for value in (gate.before, gate.after, gate.before - gate.after, gate.max_drop)
    )
    verdict = ("good", "\N{CHECK MARK} gate holds") if gate.holds else ("bad", "\N{BALLOT X} gate missed")
    detail = f": drop {drop}, allowed {allowed}, {counted(gate.samples, 'sample')}"
    return _tile(
        f"Gate ({gate.metric})", join(before, ARROW, after), join(tag("b", verdict[1], class_=verdict[0]), detail)
    )


def _kind(report: Report) -> str:
    return _FILES.get(report.kind, report.kind)


def _notes(report: Report) -> Markup:
    notes = list(report.notes)
    if report.gathers:
        notes.append(f"{counted(report.gathers, 'permutation')} not absorbed, each a gather at run time")
    return section("Notes", "", tag("ul", *(tag("li", note) for note in notes))) if notes else Markup()


_AXES = {
    "weights": ("size of the weights", size, "bytes"),
    "traffic": ("DRAM traffic of an inference", size, "bytes"),
    "time": ("time of an inference", duration, "nanoseconds"),
}
"""Of the front: what its sizes are, how one is written, and their unit in a table."""


def _front(report: Report) -> Markup:
    points = _thinned(sorted(report.front, key=lambda point: point.bytes))
    if not points:
        return Markup()
    rows = [
        [
            cell(point.bytes),
            *numbers(point.error, point.measured, form="{:.3e}"),
            tag("td", "chosen" if point.chosen else point.uniform),
        ]
        for point in points
    ]
    axis, amount, unit = _AXES[report.front_axis]
    title = {"weights": "Size", "traffic": "Traffic", "time": "Time"}[report.front_axis]
    figures = table([(unit, "n"), ("predicted error", "n"), ("measured error", "n"), ("", "")], rows)
    lead = f"Relative squared error of the network's outputs over the {axis}, for each choice of formats."
    if report.front_axis != "weights":
        lead += " A model of the target gives it; nothing was measured there."
    elif report.kind == "onnx":
        lead += " Sizes are those in an artifact, where arrays may be entropy-coded; in an ONNX file they never are."
    known = [point for point in points if math.isfinite(point.error)]
    if len(known) < 2:  # no curve
        return section(f"{title} and error", lead, figures)
    entries = [("predicted", tag("path", d="M0 6H22", class_="predicted"))]
    if any(point.measured is not None for point in known):
        entries.append(("measured", tag("circle", cx=11, cy=6, r=4, class_="measured-dot")))
    if any(point.uniform for point in known):
        entries.append(("the same format for all", tag("rect", x=7, y=2, width=8, height=8, class_="uniform")))
    if any(point.chosen for point in known):
        entries.append(("chosen", tag("circle", cx=11, cy=6, r=5, class_="chosen")))
    drawn = (
        tag("div", charts.front(known, width, height, axis, amount), class_=kind)
        for kind, width, height in (("wide", 1000, 340), ("narrow", 360, 280))
    )
    some = f"{len(points):,} of " if len(points) < len(report.front) else ""
    unfolding = details(f"Figures of {some}{counted(len(report.front), 'choice')}", figures)
    return section(f"{title} and error", lead, legend(*entries), tag("div", *drawn, class_="front"), unfolding)


def _thinned(points: Sequence[FrontPoint]) -> list[FrontPoint]:
    """Some 200 points, as many as a reader can tell apart; all that are measured, chosen or uniform."""
    every = max(1, len(points) // 200)
    return [
        point
        for place, point in enumerate(points)
        if place % every == 0 or place == len(points) - 1 or point.chosen or point.uniform or point.measured is not None
    ]


def _pivots(report: Report) -> Markup:
    if not report.pivots:
        return Markup()
    heads = ("unpivoted", "pivoted", "unstructured", "gap closed")
    columns = [("layer", "name"), ("0 to 100 %", ""), *((head, "n") for head in heads), ("could not move", "note")]
    lead = (
        "Share of the magnitude that block pruning keeps, before and after channels were permuted, and what pruning "
        "without blocks would keep. Layers that share an order follow the largest of them, which may cost the others. "
        f"{counted(report.gathers, 'gather') if report.gathers else 'No gather'} at run time."
    )
    entries = [
        ("unpivoted", tag("circle", cx=11, cy=6, r=4, class_="hollow")),
        ("pivoted", tag("circle", cx=11, cy=6, r=4, class_="after")),
        ("unstructured", tag("rect", x=10, y=0, width=2, height=12, class_="tick")),
    ]
    rows = [_pivot(pivot) for pivot in report.pivots]
    return section("Pivoting", lead, legend(*entries), table(columns, rows, sortable=True))


def _pivot(pivot: PivotReport) -> list[Markup]:
    room = pivot.unstructured - pivot.unpivoted
    closed = (pivot.pivoted - pivot.unpivoted) / room if room > 0 else None
    return [
        tag("th", name(pivot.layer), class_="name", scope="row"),
        tag("td", charts.pivot(pivot)),
        *numbers(pivot.unpivoted, pivot.pivoted, pivot.unstructured, closed, form="{:.1%}"),
        tag("td", "; ".join(pivot.fixed), class_="note"),
    ]


def _file(report: Report) -> Markup:
    if not report.file:
        return Markup()
    colors = {name: f"c{place}" if place < weights.COLORS else "rest" for place, name in enumerate(report.file)}
    rows = [
        [
            tag("th", tag("svg", swatch(colors[name]), class_="swatch", aria_hidden="true"), name, scope="row"),
            cell(nbytes),
            cell(nbytes / report.file_bytes if report.file_bytes else None, "{:.1%}"),
        ]
        for name, nbytes in report.file.items()
    ]
    total = [tag("th", "file", scope="row"), cell(report.file_bytes), cell(1.0, "{:.1%}")]
    return section(
        "File",
        f"Every byte of the {_kind(report)}.",
        charts.stack(f"Parts of the {_kind(report)}; figures below", report.file, colors),
        table([("part", ""), ("bytes", "n"), ("share", "n")], rows, total),
    )


def _recipe(report: Report) -> Markup:
    table = {
        key: value for key, value in report.recipe.items() if key != "folder"
    }  # where its file lay is no key of it
    if not table:
        return Markup()
    return section(
        "Recipe", "Saved as a file, it can be given to --recipe again.", tag("pre", tag("code", toml(table)))
    )
