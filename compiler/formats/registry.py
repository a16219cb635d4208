"""Formats by name: ``parse("block_sparse(4,4) int4(group=32,asymmetric) entropy")``.

A format is up to three parts in any order; what is left out is ``dense``, ``f32`` or ``raw``. A part is a name, and
arguments in parentheses: values for the constructor's parameters in order, ``name=value``, or the bare name of a flag.

Adding a part is adding a module (or package) to layouts/, codecs/ or storage/, with one public class that has the
methods of its protocol in base.py. Its name is the module's, unless its attribute ``names`` maps other names to
constructor arguments. Optional: ``symbol_bits``, a mapping from the role of an array to the width of its packed symbols
(that of its dtype otherwise), which entropy coding works on. Modules whose name starts with an underscore are skipped.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import pkgutil
import re
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from tilewright.errors import RecipeError
from tilewright.formats.base import Codec, Layout, Storage

# Folder beside this file, and the methods that make a class one of its parts.
_KINDS = {
    "layouts": ("pack", "unpack", "prune"),
    "codecs": ("encode", "decode", "packed_bytes"),
    "storage": ("compress", "expand"),
}
_DEFAULTS = {"layouts": "dense", "codecs": "f32", "storage": "raw"}
_PART = re.compile(r"\s*([\w:]+)(?:\s*\(([^()]*)\))?(?=\s|$)")


@dataclass(frozen=True)
class Format:
    """How a weight is stored."""

    layout: Layout
    codec: Codec
    storage: Storage

    @property
    def spec(self) -> str:
        """The text that ``parse`` turns into an equal format."""
        return f"{self.layout.spec} {self.codec.spec} {self.storage.spec}"


@dataclass(frozen=True)
class Entry:
    """A name that can be written in a spec.

    Attributes:
        kind: folder: "layouts", "codecs" or "storage".
        make: the class.
        fixed: constructor arguments that the name implies.
    """

    kind: str
    make: type
    fixed: Mapping[str, Any]

    @property
    def parameters(self) -> dict[str, inspect.Parameter]:
        """What can be written in parentheses, in order."""
        signature = inspect.signature(self.make).parameters
        return {name: parameter for name, parameter in signature.items() if name not in self.fixed}

    @property
    def usage(self) -> str:
        """For example ``block_sparse(bh,bw)``; parameters with a default as ``group=0``."""
        return ",".join(
            name if parameter.default is parameter.empty else f"{name}={parameter.default}"
            for name, parameter in self.parameters.items()
        )


@functools.cache
def entries() -> Mapping[str, Entry]:
    """Everything that can be written in a spec, by name."""
    found: dict[str, Entry] = {}
    for kind, methods in _KINDS.items():
        folder = importlib.import_module(f"{__package__}.{kind}")
        for info in pkgutil.iter_modules(folder.__path__):
            if info.name.startswith("_"):
                continue
            module = importlib.import_module(f"{folder.__name__}.{info.name}")
            for name, value in sorted(vars(module).items()):
                own = inspect.isclass(value) and value.__module__.startswith(module.__name__)
                if name.startswith("_") or not own or not all(hasattr(value, method) for method in methods):
                    continue
                for spelled, fixed in getattr(value, "names", {info.name: {}}).items():
                    if spelled in found:
                        raise ValueError(f"two formats are called {spelled}: {found[spelled].make} and {value}")
                    found[spelled] = Entry(kind, value, fixed)
    return found


def parse(text: str) -> Format:
    """The format that a spec describes.

    Raises:
        RecipeError: an unknown name or parameter, a value out of range, two parts of a kind; it lists what exists.
    """
    parts: dict[str, tuple[str, object]] = {}
    position = 0
    while text[position:].strip():
        match = _PART.match(text, position)
        if not match:
            raise RecipeError(
                f"format '{text}': cannot read '{text[position:].strip()}'; write name or name(arguments)"
            )
        position = match.end()
        name, arguments = match[1], match[2]
        entry = entries().get(name)
        if entry is None:
            raise RecipeError(f"format '{text}': '{name}' is unknown; there are {_listing()}")
        if entry.kind in parts:
            raise RecipeError(f"format '{text}': {parts[entry.kind][0]} and {name} are both {entry.kind}; keep one")
        parts[entry.kind] = (name, _make(text, name, entry, arguments or ""))
    for kind, name in _DEFAULTS.items():
        if kind not in parts:
            parts[kind] = (name, entries()[name].make())
    return Format(
        cast("Layout", parts["layouts"][1]), cast("Codec", parts["codecs"][1]), cast("Storage", parts["storage"][1])
    )


def _listing() -> str:
    lists = []
    for kind in _KINDS:
        spelled: dict[type, list[str]] = {}  # a class takes the same arguments under each of its names
        for name, entry in entries().items():
            if entry.kind == kind:
                spelled.setdefault(entry.make, []).append(name)
        texts = ["/".join(names) + _brackets(entries()[names[0]].usage) for names in spelled.values()]
        lists.append(f"{kind} {', '.join(texts)}")
    return "; ".join(lists)


def _brackets(usage: str) -> str:
    return f"({usage})" if usage else ""


def _make(text: str, name: str, entry: Entry, arguments: str) -> object:
    """Calls the class with the arguments as written."""
    parameters = entry.parameters
    hints = typing.get_type_hints(vars(entry.make)["__init__"])
    given: dict[str, Any] = dict(entry.fixed)
    order = list(parameters)

    def fail(reason: str) -> RecipeError:
        return RecipeError(f"format '{text}': {name}: {reason}; it is written {name}{_brackets(entry.usage)}")

    for place, argument in enumerate(filter(None, map(str.strip, arguments.split(",")))):
        key, equals, value = (part.strip() for part in argument.partition("="))
        if not equals:
            if key in parameters and hints.get(key) is bool:
                value = "true"
            elif place < len(order) and not any(other in given for other in order[place:]):
                key, value = order[place], key
            else:
                raise fail(f"'{argument}' is neither a flag nor a value in its place")
        if key not in parameters:
            raise fail(f"unknown parameter '{key}'")
        if key in given:
            raise fail(f"'{key}' is given twice")
        try:
            given[key] = _value(value, hints.get(key, str))
        except ValueError as error:
            raise fail(f"{key} {error}") from None
    missing = [
        key for key, parameter in parameters.items() if parameter.default is parameter.empty and key not in given
    ]
    if missing:
        raise fail(f"{', '.join(missing)} missing")
    try:
        return entry.make(**given)
    except ValueError as error:
        raise fail(str(error)) from None


def _value(text: str, kind: object) -> object:
    """Reads a value of an annotated type: int, float, bool, str, a Literal of strings, or one of these or None."""
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        (kind,) = (member for member in typing.get_args(kind) if member is not type(None))
    if typing.get_origin(kind) is typing.Literal:
        choices = typing.get_args(kind)
        if text not in choices:
            raise ValueError(f"is '{text}', not one of {', '.join(map(str, choices))}")
        return text
    if kind is bool:
        if text not in ("true", "false"):
            raise ValueError(f"is '{text}', not true or false")
        return text == "true"
    if kind in (int, float):
        try:
            return int(text) if kind is int else float(text)
        except ValueError:
            raise ValueError(f"is '{text}', not a number") from None
    return text
