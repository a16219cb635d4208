"""Recipes from files, mappings and presets."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from tilewright.errors import RecipeError
from tilewright.recipe import (
    Accuracy,
    Allocate,
    Astc,
    Cluster,
    Layer,
    Lowrank,
    Prune,
    Quantize,
    Recipe,
    Section,
    Storage,
)
from tilewright.recipe_rules import problems_of

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

# Depthwise weights are few and each matters: below 8 bits they cost much accuracy and save nothing that shows.
_SPARE = [{"kind": "depthwise", "weights": "int8"}]
# Scales of channels do for weights what equalisation would; on networks with ReLU6 it makes activations worse.
_INT8 = {"weights": "int8", "activations": 8, "smooth": True, "correct_bias": True}
# 16x4 blocks fill the registers of integer dot products; activations by their own range need no samples.
_SPARSE = {"density": 0.1, "layout": "block_sparse(16,4)"}
_DYNAMIC = {"activations": 8, "dynamic": True}

_PRESETS: Mapping[str, Mapping[str, Any]] = {
    "fp32": {},
    "fp16": {"precision": "fp16"},
    "int8": {"quantize": _INT8},
    "weights8": {"quantize": {"weights": "int8(asymmetric)"}},
    "int4": {"quantize": {"weights": "int4(group=32)"}, "layer": _SPARE},
    "codebook4": {"cluster": {"centroids": 16, "scaled": True}, "storage": {"entropy": True}, "layer": _SPARE},
    "astc6x5": {"astc": {"block": "6x5"}, "layer": _SPARE},
    "astc6x6": {"astc": {"block": "6x6"}, "layer": _SPARE},
    "mixed5": {"allocate": {"bits": 5.0}, "quantize": {"rounding": "adaptive"}},
    "mixed4": {"allocate": {"bits": 4.0}, "quantize": {"rounding": "adaptive"}},
    "sparse90-int8": {"prune": _SPARSE, "quantize": {"weights": "int8", **_DYNAMIC}, "layer": _SPARE},
    "sparse90-int4": {"prune": _SPARSE, "quantize": {"weights": "int4(group=32)", **_DYNAMIC}, "layer": _SPARE},
}

RecipeLike = Recipe | Mapping[str, Any] | str | os.PathLike[str] | None


def load_recipe(source: RecipeLike) -> Recipe:
    """Reads a recipe.

    Args:
        source: a Recipe, a mapping, a preset's name, the path of a TOML file, or None for the default.

    Raises:
        RecipeError: the file cannot be read, is not TOML, or has unknown keys or wrong values: all of them, by path.
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
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"{path}: not valid TOML: {error}") from error
    return msgspec.structs.replace(_convert(table, str(path)), folder=str(path.parent))


def _convert(table: Mapping[str, Any], where: str) -> Recipe:
    if "folder" in table:
        raise RecipeError(f"{where}: unknown field `folder`: paths are relative to the recipe's own folder")
    merged = dict(table)
    preset = table.get("preset")
    if isinstance(preset, str):
        if preset not in _PRESETS:
            raise RecipeError(f"{where}: preset: '{preset}' is unknown; there are {', '.join(_PRESETS)}")
        merged = _merge(_PRESETS[preset], table)
    try:
        recipe = msgspec.convert(merged, Recipe)
    except msgspec.ValidationError as error:
        raise RecipeError(f"{where}: {error}{_keys(str(error))}") from error
    problems = problems_of(recipe)
    if problems:
        raise RecipeError("\n".join([f"{where}: wrong values", *(f"  - {problem}" for problem in problems)]))
    return recipe


def _merge(base: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Own keys win, section by section; a preset's layer entries come first; one codec replaces another."""
    merged = {**base, **own}
    for key, section in own.items():
        if isinstance(section, Mapping) and isinstance(base.get(key), Mapping):
            merged[key] = {**base[key], **section}
    if "layer" in own and isinstance(own["layer"], list | tuple):
        merged["layer"] = [*base.get("layer", ()), *own["layer"]]
    chosen = [key for key in ("cluster", "astc", "allocate") if key in own]
    for key in ("cluster", "astc", "allocate"):
        if chosen and key not in chosen:
            merged.pop(key, None)
    if chosen and "weights" not in own.get("quantize", {}) and isinstance(merged.get("quantize"), Mapping):
        merged["quantize"] = {key: value for key, value in merged["quantize"].items() if key != "weights"}
    return merged


def _keys(message: str) -> str:
    """The keys that there are where msgspec met an unknown one."""
    if "unknown field" not in message:
        return ""
    path = message.partition("`$")[2].partition("`")[0].strip(".").partition("[")[0]
    sections: dict[str, type[Section]] = {
        "prune": Prune,
        "quantize": Quantize,
        "cluster": Cluster,
        "astc": Astc,
        "allocate": Allocate,
    }
    sections |= {"lowrank": Lowrank, "storage": Storage, "accuracy": Accuracy, "layer": Layer}
    fields = msgspec.structs.fields(sections.get(path, Recipe))
    return "; keys are: " + ", ".join(field.name for field in fields if field.name != "folder")


PRESETS: Mapping[str, Recipe] = {name: _convert({"preset": name}, name) for name in _PRESETS}
