"""HTML made of Python calls: every text is escaped unless a call of this module made it.

What comes out is well-formed XML as well (one root, every tag closed), so that tests can parse it strictly.
"""

from __future__ import annotations

import re
from html import escape

_EMPTY = frozenset({"meta", "wbr", "rect", "path", "line", "circle"})  # written <x/>; HTML forbids that for others
_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")  # no XML, or no UTF-8


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


def text(value: str) -> Markup:
    """A text as HTML shows it; characters that cannot be in a file of UTF-8 HTML become U+FFFD."""
    return value if isinstance(value, Markup) else Markup(escape(_UNPRINTABLE.sub("\ufffd", value)))


def join(*parts: str) -> Markup:
    """Parts one after another."""
    return Markup("".join(map(text, parts)))


def tag(name: str, /, *children: str, **attributes: str | float | bool | None) -> Markup:
    """An element.

    Args:
        children: its contents, in order.
        attributes: None and False leave one out; ``class_`` is class, and ``aria_label`` is aria-label.
    """
    given = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{_attribute(value)}"'
        for key, value in attributes.items()
        if value is not None and value is not False
    )
    if name in _EMPTY and not children:
        return Markup(f"<{name}{given}/>")
    return Markup(f"<{name}{given}>{join(*children)}</{name}>")


def _attribute(value: str | float | bool) -> str:
    if value is True:
        return ""
    return f"{round(value, 2):g}" if isinstance(value, int | float) else text(str(value)).replace("\n", "&#10;")
