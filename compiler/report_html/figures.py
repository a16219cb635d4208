"""Figures of a report as text: sizes, numbers that may be missing, long names, the recipe."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any

_SUPERSCRIPTS = str.maketrans("-0123456789", "\u207b\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079")
MISSING = "\N{EN DASH}"
_UNITS = ("kB", "MB", "GB", "TB")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


def size(nbytes: float) -> str:
    """Bytes in decimal units, to three figures: ``1.18 MB``, with a space that keeps them on one line."""
    if nbytes < 1000:
        return f"{nbytes:.0f}\N{NO-BREAK SPACE}B"
    power = 1
    while nbytes >= 999.5 * 1000**power and power < len(_UNITS):
        power += 1
    value = nbytes / 1000**power
    return f"{value:.{2 if value < 9.995 else 1 if value < 99.95 else 0}f}\N{NO-BREAK SPACE}{_UNITS[power - 1]}"


def duration(nanoseconds: float) -> str:
    """Milliseconds, to three figures."""
    return f"{nanoseconds / 1e6:.3g}\N{NO-BREAK SPACE}ms"


def number(value: float | None, form: str) -> str:
    """A figure by a format string; a dash where there is none."""
    if value is None or math.isnan(value):
        return MISSING
    if math.isinf(value):
        return "\N{INFINITY}" if value > 0 else "\N{MINUS SIGN}\N{INFINITY}"
    return form.format(value).replace("-", "\N{MINUS SIGN}")


def power_of_ten(exponent: int) -> str:
    """Ten with a superscript."""
    return f"10{str(exponent).translate(_SUPERSCRIPTS)}"


def ratio(before: float, after: float) -> str:
    """How many times smaller."""
    return number(before / after if after else None, "{:.2f}\N{MULTIPLICATION SIGN}")


def share(part: float, whole: float) -> str:
    """A part in percent."""
    return number(part / whole if whole else None, "{:.1%}")


def counted(count: int, what: str) -> str:
    """A count with its noun."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def shorten(name: str, limit: int = 72) -> str:
    """A name of at most ``limit`` characters; the middle goes, since names differ at their ends."""
    tail = limit * 2 // 3
    return name if len(name) <= limit else f"{name[: limit - tail - 1]}\N{HORIZONTAL ELLIPSIS}{name[-tail:]}"


def toml(table: Mapping[str, Any], path: tuple[str, ...] = ()) -> str:
    """A table as TOML; keys without a value (None) are left out."""
    values, sections = [], []
    for key, value in table.items():
        inner = (*path, key)
        name = ".".join(map(_key, inner))
        if isinstance(value, Mapping):
            sections.append(f"[{name}]\n{toml(value, inner)}")
        elif _is_tables(value):
            sections += [f"[[{name}]]\n{toml(entry, inner)}" for entry in value]
        elif value is not None:
            values.append(f"{_key(key)} = {_value(value)}\n")
    return "\n".join(filter(None, ["".join(values), *sections]))


def _is_tables(value: object) -> bool:
    return isinstance(value, list | tuple) and bool(value) and all(isinstance(entry, Mapping) for entry in value)


def _key(key: str) -> str:
    return key if _BARE_KEY.fullmatch(key) else _string(key)


def _value(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_value, value))}]"
    return _string(str(value))


def _string(value: str) -> str:
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
