"""Elements that the sections of the page share."""

from __future__ import annotations

import math
from collections.abc import Sequence

from tilewright.report_html.figures import number
from tilewright.report_html.markup import Markup, join, tag

Column = tuple[str, str]
"""Head of a column and its class: "n" for numbers, "name", "note" or ""."""

ARROW = tag("span", " \N{RIGHTWARDS ARROW} ", class_="arrow")


def section(title: str, lead: str, *contents: str) -> Markup:
    """A card with a heading and a sentence of explanation, which may be empty."""
    return tag("section", tag("h2", title), tag("p", lead, class_="dim") if lead else "", *contents)


def details(title: str, contents: str) -> Markup:
    """Contents that unfold."""
    return tag("details", tag("summary", title), contents)


def legend(*entries: tuple[str, Markup]) -> Markup:
    """Labels and what stands for them, drawn in 22 x 12 pixels."""
    items = (tag("li", tag("svg", shape, aria_hidden="true"), label) for label, shape in entries)
    return tag("ul", *items, class_="legend")


def swatch(color: str) -> Markup:
    """A colour in a legend, by its CSS class."""
    return tag("rect", y=1, width=22, height=10, class_=color)


def name(layer: str) -> Markup:
    """A layer's name, which may be broken behind its slashes, or its dots if it has no slash."""
    separator = "/" if "/" in layer else "."
    *stems, last = layer.split(separator)
    return join(*(join(stem, separator, tag("wbr") if stem else "") for stem in stems), last)


def cell(value: float | None, form: str = "{:,}") -> Markup:
    """A right-aligned number; the attribute is what sorting compares, empty where there is no value."""
    return tag("td", number(value, form), class_="n", data_v=_exact(value))


def numbers(*values: float | None, form: str = "{:,}") -> list[Markup]:
    """Cells of numbers."""
    return [cell(value, form) for value in values]


def _exact(value: float | None) -> str:
    if value is None or math.isnan(value):
        return ""
    return repr(value).replace("inf", "Infinity")  # as JavaScript reads it


def table(
    columns: Sequence[Column], rows: Sequence[Sequence[Markup]], total: Sequence[Markup] = (), sortable: bool = False
) -> Markup:
    """A table that scrolls sideways where there is no room for it.

    Args:
        rows: cells.
        total: cells of the last line, which sorting leaves there.
    """
    heads = (tag("th", head, scope="col", class_=kind or None) if head else tag("td") for head, kind in columns)
    parts = [tag("thead", tag("tr", *heads)), tag("tbody", *(tag("tr", *cells) for cells in rows))]
    parts += [tag("tfoot", tag("tr", *total))] if total else []
    return tag("div", tag("table", *parts, class_="sortable" if sortable else None), class_="scroll", tabindex=0)
