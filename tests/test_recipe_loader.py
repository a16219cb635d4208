"""Recipes from presets, files and dicts."""

from __future__ import annotations

from pathlib import Path

import pytest

from tilewright.errors import RecipeError
from tilewright.recipe import Recipe
from tilewright.recipe_loader import PRESETS, load_recipe


def test_default() -> None:
    assert load_recipe(None) == Recipe()
    assert load_recipe(None).precision == "fp32"


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_presets_know_their_name(name: str) -> None:
    assert load_recipe(name).preset == name


def test_file_may_start_from_a_preset(tmp_path: Path) -> None:
    file = tmp_path / "r.toml"
    file.write_text('preset = "fp16"\n')
    assert load_recipe(file).precision == "fp16"


def test_own_keys_win_over_the_preset() -> None:
    assert load_recipe({"preset": "fp16", "precision": "fp32"}).precision == "fp32"


def test_missing_file_lists_presets() -> None:
    with pytest.raises(RecipeError, match="fp16"):
        load_recipe("nowhere.toml")


def test_binary_file(tmp_path: Path) -> None:
    file = tmp_path / "r.toml"
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RecipeError, match=r"r\.toml"):
        load_recipe(file)


def test_sections_are_merged_with_those_of_the_preset() -> None:
    recipe = load_recipe({"preset": "int8", "quantize": {"method": "kl"}})
    assert recipe.quantize is not None
    assert (recipe.quantize.weights, recipe.quantize.activations, recipe.quantize.method) == ("int8", 8, "kl")


def test_another_codec_replaces_that_of_the_preset() -> None:
    assert load_recipe({"preset": "int8", "cluster": {"centroids": 8}}).codec == "codebook(8)"
    assert load_recipe({"preset": "astc6x6", "cluster": {}}).codec == "codebook(16)"
    assert load_recipe({"preset": "mixed4", "allocate": {"bits": 3.5}}).allocate.bits == 3.5  # type: ignore[union-attr]
