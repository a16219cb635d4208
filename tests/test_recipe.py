"""Recipes: what holds for a layer, paths, and the documented keys."""

from __future__ import annotations

import sys
from pathlib import Path

import tilewright.recipe
from tilewright.recipe_loader import load_recipe

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def test_later_layer_entries_win() -> None:
    entries = [{"name": "a*", "weights": "int4", "activations": 8}, {"name": "ab", "weights": "float", "density": 0.5}]
    recipe = load_recipe({"preset": "int8", "layer": [*entries, {"kind": "table", "layout": "two_four"}]})
    first, second, third = (
        recipe.settings(name, kind) for name, kind in (("a", "conv"), ("ab", "conv"), ("b", "table"))
    )
    assert (first.codec, first.activations, first.prunes) == ("int4", 8, False)
    assert (second.codec, second.density, second.prunes) == ("float", 0.5, True)
    assert (third.codec, third.layout) == ("int8", "two_four")


def test_a_layer_entry_overrides_the_allocation() -> None:
    recipe = load_recipe({"preset": "mixed4", "layer": [{"name": "first", "weights": "int8"}]})
    assert recipe.settings("other", "conv").allocated
    assert not recipe.settings("first", "conv").allocated


def test_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    file = tmp_path / "r.toml"
    file.write_text("[prune]\nmasks = 'masks.npz'\n")
    assert load_recipe(file).path("masks.npz") == tmp_path / "masks.npz"


def test_the_documented_keys_exist() -> None:
    """The TOML in the module's docstring, its alternatives apart, is a recipe."""
    text = (tilewright.recipe.__doc__ or "").partition("\n\n")[2].rpartition("\n\n")[0]
    kept = [line[4:] for line in text.splitlines()]
    dropped = ("bytes =", "max_error =", "traffic_mb =", "milliseconds =", "target =", "activations = [")
    text = "\n".join(line for line in kept if not line.startswith(dropped))
    table = tomllib.loads(text)
    for codec in ("cluster", "astc", "allocate"):
        others = {"cluster", "astc", "allocate"} - {codec}
        for range_of in ("results", "dynamic"):
            quantize = {key: value for key, value in table["quantize"].items() if key not in ("weights", range_of)}
            load_recipe({key: value for key, value in table.items() if key not in others} | {"quantize": quantize})
