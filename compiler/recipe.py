"""Recipes: what is to be done to a network, as TOML, a dict or a preset's name.

An unknown key is an error that gives its path, so that a misspelt wish never passes for a fulfilled one.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec

from tilewright.errors import RecipeError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


class Recipe(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A recipe.

    Attributes:
        preset: name of the preset it starts from.
        precision: arithmetic and storage of activations and dense weights: ``fp32`` or ``fp16``.
    """

    preset: Literal["fp32", "fp16"] | None = None
    precision: Literal["fp32", "fp16"] = "fp32"


PRESETS: Mapping[str, Recipe] = {
    "fp32": Recipe(preset="fp32", precision="fp32"),
    "fp16": Recipe(preset="fp16", precision="fp16"),
}

RecipeLike = Recipe | Mapping[str, Any] | str | os.PathLike[str] | None


def load_recipe(source: RecipeLike) -> Recipe:
    """Reads a recipe.

    Args:
        source: a Recipe, a mapping, a preset's name, the path of a TOML file, or None for the default.

    Raises:
        RecipeError: the file cannot be read, is not TOML, or has an unknown key or a wrong value (named by path).
    """
    if source is None:
        return Recipe()
    if isinstance(source, Recipe):
        return source
    if isinstance(source, Mapping):
        return _convert(source, "recipe")
    if str(source) in PRESETS:
        return PRESETS[str(source)]
    path = Path(source)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        known = ", ".join(PRESETS)
        raise RecipeError(f"{path}: neither a readable recipe file nor a preset ({known}): {error}") from error
    try:
        return _convert(tomllib.loads(text), str(path))
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"{path}: not valid TOML: {error}") from error


def _convert(table: Mapping[str, Any], where: str) -> Recipe:
    base: dict[str, Any] = {}
    if isinstance(table.get("preset"), str) and table["preset"] in PRESETS:
        base = msgspec.to_builtins(PRESETS[table["preset"]])
    try:
        return msgspec.convert({**base, **table}, Recipe)
    except msgspec.ValidationError as error:
        keys = ", ".join(field.name for field in msgspec.structs.fields(Recipe))
        raise RecipeError(f"{where}: {error}; keys are: {keys}") from error
