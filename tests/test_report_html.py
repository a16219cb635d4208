"""The page is parsed as strictly as XML: nothing in a report breaks it, and figures and shapes say what it says."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tilewright.errors import TilewrightError
from tilewright.formats.packed import pack, snr_db, unpack
from tilewright.recipe_loader import load_recipe
from tilewright.report import FrontPoint, GateReport, Histogram, LayerReport, PivotReport, Report, histogram
from tilewright.report_html import charts, save, write
from tilewright.report_html.figures import MISSING, number, shorten, size, toml
from tilewright.report_html.style import STYLE
from tilewright.report_html.weights import SHOWN, part_colors

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

AWKWARD = "/a<b>&amp;\"'\n</style></script><script>alert(1)</script>{}%s\\"
SPECS = ("int4(group=16) entropy", "codebook(8)", "astc(6,6)", "vbd(5)", "block_sparse(4,4) int8", "int3(asymmetric)")


def packed_layer(place: int) -> LayerReport:
    """A small weight that is really packed, with the bytes that it really has."""
    shape = (8, 4 * (place % 3 + 1), 3, 3)
    weight = np.random.default_rng(place).standard_normal((8, 36 * (place % 3 + 1))).astype(np.float32)
    packed = pack(weight, SPECS[place % len(SPECS)])
    decoded = unpack(packed)
    form = packed.format
    return LayerReport(
        layer=f"/encoder/block.{place}/Conv",
        operator="Conv",
        weight=f"block.{place}.weight",
        shape=shape,
        layout=form.layout.spec,
        codec=form.codec.spec,
        storage=form.storage.spec,
        bytes_before=weight.nbytes,
        parts=packed.sizes,
        activations=8,
        kept=0.5 + place / 1000,
        snr=snr_db(weight, decoded),
        output_error=0.01,
        histogram=histogram(weight, decoded),
    )


LAYER = packed_layer(0)
FLOAT = LayerReport("head", "Gemm", "head.weight", (10, 20), "dense", "f32", "raw", 800, {"values": 800}, note="why")
FRONT = tuple(FrontPoint(1000 * n, 0.5**n, 0.6**n if n % 4 == 0 else None, n == 8) for n in range(1, 20))
PIVOTS = (PivotReport("fc", 0.2, 0.3, 0.6, ("rows: output",)),)


def full(layers: Sequence[LayerReport] = (LAYER, FLOAT)) -> Report:
    """A report that has every section."""
    stored = sum(layer.bytes for layer in layers)
    recipe = {"preset": "int8", "quantize": {"weights": "int4"}, "layer": [{"name": "*", "density": 0.5}]}
    file = {"weights": stored, "code": 321, "graph": 123}
    gate = GateReport("top-1", 0.9, 0.85, 0.1, 100)
    return Report("net", recipe, tuple(layers), file, "artifact", FRONT, PIVOTS, 2, gate, ("a note",))


def page(report: Report) -> Element:
    """The page's root; raises unless every tag is closed and everything else is escaped."""
    html = write(report)
    assert html.startswith("<!DOCTYPE html>\n")
    return ElementTree.fromstring(html.partition("\n")[2])


def text(element: Element) -> str:
    return "".join(element.itertext())


def section(root: Element, title: str) -> Element:
    (found,) = [part for part in root.iter("section") if part.findtext("h2") == title]
    return found


def titles(root: Element) -> list[str]:
    return [str(part.findtext("h2")) for part in root.iter("section")]


def classed(root: Element, name: str, *classes: str) -> list[Element]:
    return [element for element in root.iter(name) if element.get("class") in classes]


def rows(table: Element) -> list[list[Element]]:
    """Cells of the body's rows."""
    return [list(row) for body in table.iter("tbody") for row in body]


def column(table: Element, head: str) -> list[float | None]:
    """What a column is sorted by."""
    (place,) = [n for n, cell in enumerate(next(table.iter("thead"))[0]) if text(cell) == head]
    values = [row[place].get("data-v") for row in rows(table)]
    return [float(value) if value else None for value in values]


def coordinates(root: Element) -> list[float]:
    """Every number in the drawings."""
    names = ("x", "y", "x1", "x2", "y1", "y2", "cx", "cy", "r", "width", "height", "d")
    texts = [shape.get(name, "") for svg in root.iter("svg") for shape in svg.iter() for name in names]
    words = [word for value in texts for word in re.split(r"[MLHVhvz%\s]+", value) if word]
    return [float(word) for word in words]


def test_every_section_is_there_and_only_what_there_is() -> None:
    assert titles(page(full())) == [
        "Notes",
        "Size and error",
        "Bytes of each weight",
        "Formats",
        "Layers",
        "Distribution of weights",
        "Pivoting",
        "File",
        "Recipe",
    ]
    assert titles(page(Report("", {}, ()))) == []
    assert titles(page(Report("", {}, (FLOAT,)))) == ["Bytes of each weight", "Layers"]


def test_headline_figures() -> None:
    tiles = [text(tile) for tile in page(full()).iter("dd") if tile.get("class") == "big"]
    before, after = 1152 + 800, LAYER.bytes + 800
    assert tiles == [
        f"1.95\xa0kB → {size(after)}",
        f"{8 * after / (288 + 200):.2f}",
        size(after + 444),
        "0.9000 → 0.8500",
    ]
    assert f"{before / after:.2f}\N{MULTIPLICATION SIGN}" in write(full())
    assert "✓ gate holds" in write(full())
    assert "✗ gate missed" in write(replace(full(), gate=GateReport("top-1", 0.9, 0.7, 0.1, 100)))


def test_the_page_loads_nothing() -> None:
    html = write(full())
    assert not re.search(r"https?:|//\w|src=|href=|url\(|@import|<link|<img|<iframe", html)
    (policy,) = [meta for meta in page(full()).iter("meta") if meta.get("http-equiv")]
    assert str(policy.get("content")).startswith("default-src 'none';")


def test_texts_stay_texts() -> None:
    layer = replace(LAYER, layer=AWKWARD, weight=AWKWARD, operator=AWKWARD, note=AWKWARD)
    layer = replace(layer, codec=AWKWARD, parts={AWKWARD: 5})
    pivots = (PivotReport(AWKWARD, 0.1, 0.2, 0.3, (AWKWARD,)),)
    recipe = {AWKWARD: {"key": AWKWARD}, "masks": AWKWARD}
    gate = GateReport(AWKWARD, 1, 1, 0, 1)
    report = Report(AWKWARD, recipe, (layer, FLOAT), {AWKWARD: 5}, AWKWARD, (), pivots, 0, gate, (AWKWARD,))
    root = page(report)
    assert [text(element) for element in root.iter("script")] == [text(page(full()).findall(".//script")[0])]
    assert root.findtext(".//h1") == AWKWARD
    names = [text(cell) for cell in section(root, "Layers").iter("th") if cell.get("scope") == "row"]
    assert names[0].startswith(AWKWARD)
    assert text(section(root, "Notes")).endswith(AWKWARD)


@given(st.text(st.characters(codec=None), max_size=120), st.text(st.characters(codec=None), max_size=120))
@settings(max_examples=40, deadline=None)
def test_any_text_makes_a_page(name: str, note: str) -> None:
    """Surrogates and control characters too, which neither UTF-8 nor XML can hold."""
    report = replace(
        full([replace(LAYER, layer=name, note=note), FLOAT]), model=name, notes=(note,), recipe={name: note}
    )
    assert ElementTree.fromstring(write(report).encode().partition(b"\n")[2]) is not None


@pytest.mark.parametrize("count", [1, SHOWN, SHOWN + 1, 200])
def test_every_weight_is_shown(count: int) -> None:
    layers = [packed_layer(place) for place in range(count)]
    root = page(full(layers))
    assert len(classed(root, "svg", "bar")) == count
    assert len(classed(root, "svg", "histogram")) == count
    table = section(root, "Layers")
    assert len(rows(table)) == count
    assert column(table, "bits/w") == [layer.bits_per_weight for layer in layers]
    assert column(table, "SNR dB") == [layer.snr for layer in layers]
    folded = len(section(root, "Distribution of weights").findall("details"))
    assert folded == (count > SHOWN)
    assert len(write(full(layers))) < 30_000 + 5_000 * count


def test_bytes_add_up() -> None:
    layers = [packed_layer(place) for place in range(12)]
    report = full([*layers, FLOAT])
    root = page(report)
    parts = section(root, "Bytes of each weight")
    sums = [float(str(cell.get("data-v"))) for cell in next(parts.iter("tfoot"))[0][1:]]
    for row, layer in zip(rows(parts), report.layers, strict=True):
        figures = [float(cell.get("data-v") or 0) for cell in row[1:]]
        assert sum(figures[:-1]) == figures[-1] == layer.bytes
    assert sum(sums[:-1]) == sums[-1] == report.bytes
    listed = [value for value in column(section(root, "File"), "bytes") if value is not None]
    assert sum(listed) == report.file_bytes
    assert text(next(section(root, "File").iter("tfoot"))) == f"file{report.file_bytes:,}100.0%"
    groups = column(section(root, "Formats"), "after")
    assert sum(value for value in groups if value is not None) == report.bytes


@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=7), st.integers(0, 10**9))
def test_bars_are_to_scale(nbytes: list[int], before: int) -> None:
    """Widths in percent, rounded to 0.001; stacked parts follow one another."""
    parts = {f"part {place}": value for place, value in enumerate(nbytes)}
    full_width = max(1, before, sum(nbytes))
    svg = ElementTree.fromstring(charts.bar("label", before, parts, full_width, dict.fromkeys(parts, "c0")))
    place = {"before": [before], "c0": nbytes}
    for kind, values in place.items():
        widths = [float(str(bar.get("width")).rstrip("%")) for bar in classed(svg, "rect", kind)]
        assert widths == pytest.approx([100 * value / full_width for value in values], abs=6e-4)
    starts = [float(str(bar.get("x")).rstrip("%")) for bar in classed(svg, "rect", "c0")]
    ends = np.cumsum([0, *nbytes])[:-1] * 100 / full_width
    assert starts == pytest.approx(ends.tolist(), abs=6e-4)


def test_parts_have_colours_of_their_own() -> None:
    roles = ["values", "scales", "padding", "exponents", "depths", "surprise"]
    colors = part_colors(roles)
    assert list(colors) == ["values", "scales", "depths", "exponents", "surprise", "padding"]
    assert len(set(colors.values())) == len(roles)
    assert part_colors(["values"])["values"] == colors["values"]
    assert part_colors([f"role {n}" for n in range(20)]).keys() == {f"role {n}" for n in range(20)}


@pytest.mark.parametrize(
    ("value", "shown"), [(None, MISSING), (math.nan, MISSING), (math.inf, "∞"), (-math.inf, "\N{MINUS SIGN}∞")]
)
def test_figures_that_are_no_numbers(value: float | None, shown: str) -> None:
    bare = value if value is not None else math.nan
    layer = replace(LAYER, kept=value, snr=value, output_error=value)
    front = (FrontPoint(1, bare), FrontPoint(2, 0.0, value), FrontPoint(3, 0.0, 1.0, True))
    pivots = (PivotReport("fc", bare, 0.5, bare, ()),)
    gate = GateReport("top-1", 0.5, bare, 0.1, 0)
    # FLOAT's figures keep the columns alive where the first layer has none.
    other = replace(FLOAT, kept=1.0, snr=20.0, output_error=0.5)
    root = page(replace(full([layer, other]), front=front, pivots=pivots, gate=gate))
    first = rows(section(root, "Layers"))[0]
    assert [text(cell) for cell in first[-3:]] == [shown] * 3
    sorted_by = {math.inf: "Infinity", -math.inf: "-Infinity"}.get(bare, "")  # JavaScript's spelling
    assert [cell.get("data-v") for cell in first[-3:]] == [sorted_by] * 3
    words = text(section(root, "Layers")) + text(section(root, "Pivoting")) + text(next(root.iter("dl")))
    assert not re.search(r"\b(nan|inf|None)\b", words, re.IGNORECASE)
    assert all(map(math.isfinite, coordinates(root)))


def test_columns_without_a_figure_are_left_out() -> None:
    heads = [text(cell) for cell in next(section(page(full([FLOAT])), "Layers").iter("thead"))[0]]
    assert heads == ["#", "layer", "format", "shape", "bits/w", "bytes before", "after"]


SIZES = st.integers(0, 10**11)
ERRORS = st.floats(0, 1e6) | st.floats(1e-12, 1e-3)


@given(st.lists(st.tuples(SIZES, ERRORS, st.none() | ERRORS, st.booleans()), min_size=1, max_size=30))
def test_the_front_is_drawn_inside_its_frame(data: list[tuple[int, float, float | None, bool]]) -> None:
    """Larger sizes lie further right and larger errors higher, up to the 0.005 that coordinates are rounded by."""
    points = [FrontPoint(*fields) for fields in sorted(data, key=lambda fields: fields[0])]
    svg = ElementTree.fromstring(charts.front(points, 360, 280))
    dots = classed(svg, "circle", "predicted-dot")
    assert len(dots) == len(points)
    places = [(float(str(dot.get("cx"))), float(str(dot.get("cy")))) for dot in dots]
    assert all(0 <= x <= 360 and 0 <= y <= 280 for x, y in places)
    for (x, _), (further, _) in pairwise(places):
        assert x <= further
    by_error = sorted(zip([point.error for point in points], [y for _, y in places], strict=True))
    for (_, y), (_, higher) in pairwise(by_error):
        assert higher <= y + 0.01
    assert len(classed(svg, "circle", "measured-dot")) == sum(point.measured is not None for point in points)
    assert len(classed(svg, "circle", "chosen")) == sum(point.chosen for point in points)
    labels = list(svg.iter("text"))
    assert all(0 <= float(str(label.get("x"))) <= 360 for label in labels)
    assert len({text(label) for label in labels}) == len(labels)


def test_the_curve_passes_below_a_choice_that_was_made_by_measurement() -> None:
    points = [FrontPoint(1, 8.0), FrontPoint(2, 4.0), FrontPoint(3, 6.0, 3.0, chosen=True), FrontPoint(4, 2.0)]
    svg = ElementTree.fromstring(charts.front(points, 1000, 340))
    (curve,) = classed(svg, "path", "predicted")
    dots = classed(svg, "circle", "predicted-dot")
    corners = [tuple(map(float, corner.split())) for corner in str(curve.get("d"))[1:].split("L")]
    expected = [(float(str(dots[n].get("cx"))), float(str(dots[n].get("cy")))) for n in (0, 1, 3)]
    assert corners == [pytest.approx(place, abs=0.06) for place in expected]  # the path is rounded to 0.1
    assert "chosen: 3\xa0B" in text(svg)


def test_uniform_formats_are_marked_apart_from_the_curve() -> None:
    uniform = (FrontPoint(1500, 0.4, uniform="int4"), FrontPoint(2500, math.inf, uniform="int2"))
    root = section(page(replace(full(), front=(*FRONT, *uniform))), "Size and error")
    assert {text(mark) for mark in classed(root, "rect", "uniform")} >= {
        "int4 everywhere, 1.50\xa0kB: predicted error 4.00e-01"
    }
    assert "int4" in text(next(root.iter("table")))
    assert "the same format for all" in text(root)


def test_names_of_uniform_formats_do_not_overlap() -> None:
    specs = [f"block_sparse(4,4) int{bits}(group={group}) entropy" for bits in range(2, 8) for group in (32, 64)]
    points = [FrontPoint(1000 + 40 * n, 2.0**-n, uniform=spec) for n, spec in enumerate(specs)]
    svg = ElementTree.fromstring(charts.front(points, 1000, 340))
    names = classed(svg, "text", "named")
    assert {text(name) for name in names} <= {f"int{bits}(group={group})" for bits in range(2, 8) for group in (32, 64)}
    assert len(names) > 3
    places = [(float(str(name.get("x"))), float(str(name.get("y"))), len(text(name))) for name in names]
    for (x, y, letters), (further, other, more) in combinations(places, 2):
        assert abs(y - other) >= 13 or further >= x + 6.6 * letters - 0.1 or x >= further + 6.6 * more - 0.1
    assert all(x >= 58 and x + 6.6 * letters <= 980.1 for x, _, letters in places)


def test_a_long_front_is_thinned_but_for_what_matters() -> None:
    points = [FrontPoint(n, 1 / (n + 1), 0.5 if n == 1234 else None, n == 2345) for n in range(5000)]
    root = section(page(replace(full(), front=tuple(points))), "Size and error")
    shown = column(root, "bytes")
    assert len(shown) < 250
    assert {0, 1234, 2345, 4999} <= set(shown)


def test_histograms_draw_square_roots_of_counts() -> None:
    counts = Histogram(1.0, (0, 25, 100, 4), (0, 0, 50, 0))
    svg = ElementTree.fromstring(charts.histogram("label", counts))
    area, bars = (str(path.get("d")) for path in svg.iter("path"))
    assert [float(y) for y in re.findall(r"V([\d.]+)H", area)] == [100, 52, 4, 80.8]  # 100 - 96 sqrt(count / 100)
    assert re.findall(r"M([\d.]+) 100V([\d.]+)h", bars) == [("2.15", "32.1")]


def test_unchanged_weights_have_no_histogram() -> None:
    same = replace(FLOAT, histogram=Histogram(1.0, (1, 2), (1, 2)))
    root = section(page(full([LAYER, same])), "Distribution of weights")
    assert len(classed(root, "svg", "histogram")) == 1
    assert "Left out: 1 weight without a visible change." in text(root)


@given(st.floats(-1e6, 1e6), st.floats(1e-2, 1e9), st.integers(2, 10))
def test_ticks_are_round_and_inside(low: float, span: float, count: int) -> None:
    high = low + span
    found = charts.ticks(low, high, count)
    assert len(found) <= count + 1
    slack = 1e-6 * max(abs(low), abs(high))
    assert all(low - slack <= tick <= high + slack for tick in found)
    for tick, following in pairwise(found):
        step = following - tick
        leading = step / 10 ** math.floor(math.log10(step) + 1e-6)
        assert min(abs(leading - factor) for factor in (1, 2, 5)) <= 1e-3 + slack / step


@pytest.mark.parametrize(
    ("nbytes", "shown"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.00 kB"),
        (9_994, "9.99 kB"),
        (9_996, "10.0 kB"),
        (99_960, "100 kB"),
        (999_499, "999 kB"),
        (999_500, "1.00 MB"),
        (27_104_256, "27.1 MB"),
        (5 * 10**15, "5000 TB"),
    ],
)
def test_sizes_have_three_figures(nbytes: int, shown: str) -> None:
    assert size(nbytes) == shown.replace(" ", "\N{NO-BREAK SPACE}")


def test_numbers_use_a_minus_sign() -> None:
    assert number(-0.5, "{:.1f}") == "\N{MINUS SIGN}0.5"
    assert number(1e-3, "{:.0e}") == "1e\N{MINUS SIGN}03"


@given(st.text(max_size=200), st.integers(8, 80))
def test_short_names_keep_both_ends(name: str, limit: int) -> None:
    short = shorten(name, limit)
    assert len(short) == min(len(name), limit)
    tail = limit * 2 // 3
    if len(name) > limit:
        assert short == f"{name[: limit - tail - 1]}\N{HORIZONTAL ELLIPSIS}{name[-tail:]}"
    else:
        assert short == name


SCALARS = st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | st.text(max_size=20)
TABLES: st.SearchStrategy[dict[str, Any]] = st.recursive(
    st.dictionaries(st.text(max_size=8), SCALARS | st.lists(SCALARS, max_size=3), max_size=4),
    lambda inner: st.dictionaries(
        st.text(max_size=8), SCALARS | inner | st.lists(inner.filter(bool), min_size=1, max_size=2), max_size=4
    ),
    max_leaves=6,
)


@given(TABLES)
def test_recipes_are_shown_as_toml_that_can_be_read_again(table: dict[str, Any]) -> None:
    assert tomllib.loads(toml(table)) == table


def test_the_recipe_can_be_used_again(tmp_path: Path) -> None:
    text_of = """
        preset = "int8"
        [allocate]
        bits = 4.5
        [[layer]]
        name = "*/\\"quoted\\"/*"
        weights = "int8"
        [[layer]]
        kind = "table"
        weights = "float"
    """
    (tmp_path / "recipe.toml").write_text(text_of, encoding="utf-8")
    recipe = load_recipe(tmp_path / "recipe.toml")
    shown = section(page(replace(full(), recipe=msgspec.to_builtins(recipe))), "Recipe").findtext(".//code")
    assert str(tmp_path) not in str(shown)
    (tmp_path / "again.toml").write_text(str(shown), encoding="utf-8")
    assert load_recipe(tmp_path / "again.toml") == recipe


def test_toml_leaves_out_what_has_no_value() -> None:
    assert tomllib.loads(toml({"a": None, "b": {"c": None}, "d": (1, 2)})) == {"b": {}, "d": [1, 2]}


def colors(block: str) -> dict[str, tuple[float, ...]]:
    found = re.findall(r"(--[\w-]+): #([0-9a-f]{3,6})", block)
    long = {name: value if len(value) == 6 else "".join(2 * digit for digit in value) for name, value in found}
    return {name: tuple(int(value[at : at + 2], 16) / 255 for at in (0, 2, 4)) for name, value in long.items()}


def luminance(color: tuple[float, ...]) -> float:
    """WCAG 2.2, relative luminance."""
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in color]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_colours_are_legible_in_both_schemes() -> None:
    """WCAG 2.2 asks for 4.5 (text) and 3 (shapes)."""
    light, _, dark = STYLE.partition("prefers-color-scheme: dark")
    schemes = colors(light), colors(dark)
    assert schemes[0].keys() == schemes[1].keys() >= set(re.findall(r"var\((--[\w-]+)\)", STYLE))
    for scheme in schemes:
        for name in ("--ink", "--dim", "--good", "--bad"):
            assert min(contrast(scheme[name], scheme[under]) for under in ("--card", "--page")) >= 4.5
        for name in ("--accent", "--second", "--rest", *(f"--c{n}" for n in range(7))):
            assert contrast(scheme[name], scheme["--card"]) >= 3


def test_drawings_have_labels() -> None:
    drawings = [svg for svg in page(full()).iter("svg") if svg.get("aria-hidden") is None]
    assert len(drawings) >= 6
    assert all(svg.get("role") == "img" and svg.get("aria-label") for svg in drawings)


def test_saving_writes_the_page_or_nothing(tmp_path: Path) -> None:
    save(full(), tmp_path / "report.html")
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == write(full())
    with pytest.raises(TilewrightError, match=r"cannot write the report: there is no folder .*absent"):
        save(full(), tmp_path / "absent" / "report.html")
    assert [entry.name for entry in tmp_path.iterdir()] == ["report.html"]
