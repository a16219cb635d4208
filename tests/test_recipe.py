"""Recipes: presets, files, dicts, and errors that give the key's path."""

from __future__ import annotations

from pathlib import Path

import pytest

from tilewright.errors import RecipeError
from tilewright.recipe import PRESETS, Recipe, load_recipe


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


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("precison = 'fp16'", "precison"),
        ("precision = 'fp8'", "precision"),
        ("precision = 16", "precision"),
        ("preset = 'fast'", "preset"),
        ("precision = ", "TOML"),
        ("[prune]\ndensity = 0.1", "prune"),
    ],
)
def test_wrong_recipes_name_key_and_file(tmp_path: Path, text: str, complaint: str) -> None:
    file = tmp_path / "r.toml"
    file.write_text(text)
    with pytest.raises(RecipeError, match=complaint) as caught:
        load_recipe(file)
    assert "r.toml" in str(caught.value)


def test_missing_file_lists_presets() -> None:
    with pytest.raises(RecipeError, match="fp16"):
        load_recipe("nowhere.toml")


def test_binary_file(tmp_path: Path) -> None:
    file = tmp_path / "r.toml"
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RecipeError, match=r"r\.toml"):
        load_recipe(file)
