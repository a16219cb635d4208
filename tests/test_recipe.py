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
        ("folder = '/'", "folder"),
        ("[prune]\ndensty = 0.1", r"densty.*prune.*density, threshold"),
        ("[prune]\ndensity = 0", r"prune\.density"),
        ("[prune]\ndensity = 0.5\nthreshold = 0.1", "exclude each other"),
        ("[prune]\nlayout = 'dense int4'", r"prune\.layout.*no layout alone"),
        ("[quantize]\nweights = 'int9'", r"quantize\.weights.*int9"),
        ("[quantize]\nweights = 'int4 entropy'", "no codec alone"),
        ("[quantize]\nactivations = 13", r"quantize\.activations: 13 bits"),
        ("[quantize]\nmethod = 'best'", r"quantize\.method"),
        ("[quantize]\nweights = 'int4'\n[astc]\nblock = '6x6'", "keep one"),
        ("[astc]\nblock = '7x7'", r"astc\.block.*7x7"),
        ("[cluster]\ncentroids = 1", r"cluster\.centroids"),
        ("[allocate]\nbits = 4.0\nbytes = 100", r"exactly one of bits, bytes, max_error, .*, not bits and bytes"),
        ("[allocate]\nbits = 4.0\ncandidates = ['int4', 'int1']", r"allocate\.candidates\[1\]"),
        ("[allocate]\nbits = 4.0\nsamples = 0", r"allocate\.samples: 0 is not 1 or more"),
        ("[allocate]\ntraffic_mb = 1.0\nbits = 4.0", r"exactly one of .*, not bits and traffic_mb"),
        ("[allocate]\ntraffic_mb = 1.0", r"allocate: the target computes in integers: give quantize\.activations"),
        ("[allocate]\nmilliseconds = -1.0\n[quantize]\nactivations = 8", r"milliseconds: -1 is not more than 0"),
        ("[allocate]\ntraffic_mb = 1.0\ntarget = 'cpu'", r"allocate\.target: there is no model of .*nna-vbd"),
        ("[allocate]\ntraffic_mb = 1.0\nactivations = [3]", r"allocate\.activations: 3 bits; there are 4"),
        ("[allocate]\ntraffic_mb = 1.0\ncandidates = ['vbd(5)']", r"allocate\.candidates\[0\]: 'vbd\(5\)'"),
        ("[allocate]\nbits = 4.0\nactivations = [8]", r"allocate\.activations: goes with traffic_mb"),
        ("[lowrank]", "exactly one of rank, energy"),
        ("[lowrank]\nrank = 0", "lowrank.rank: 0"),
        ("[lowrank]\nenergy = 1.5", "lowrank.energy: 1.5"),
        ("[[layer]]\nnam = 'x'", r"nam.*layer\[0\].*keys are: name"),
        ("[[layer]]\n[[layer]]\ndensity = 2", r"layer\[1\]\.density: 2"),
        ("[[layer]]\nkind = 'dense'", r"layer\[0\]\.kind|kind"),
        ("[accuracy]\nmax_drop = 0.1", "data"),
        ("[accuracy]\ndata = 'x.npz'\nmax_drop = 2", r"accuracy\.max_drop"),
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


def test_everything_wrong_is_listed_at_once() -> None:
    with pytest.raises(RecipeError) as caught:
        load_recipe({"prune": {"density": 3.0, "layout": "x"}, "quantize": {"weights": "int1", "activations": 3}})
    message = str(caught.value)
    assert all(key in message for key in ("prune.density", "prune.layout", "quantize.weights", "quantize.activations"))


def test_sections_are_merged_with_those_of_the_preset() -> None:
    recipe = load_recipe({"preset": "int8", "quantize": {"method": "kl"}})
    assert recipe.quantize is not None
    assert (recipe.quantize.weights, recipe.quantize.activations, recipe.quantize.method) == ("int8", 8, "kl")


def test_another_codec_replaces_that_of_the_preset() -> None:
    assert load_recipe({"preset": "int8", "cluster": {"centroids": 8}}).codec == "codebook(8)"
    assert load_recipe({"preset": "astc6x6", "cluster": {}}).codec == "codebook(16)"
    assert load_recipe({"preset": "mixed4", "allocate": {"bits": 3.5}}).allocate.bits == 3.5  # type: ignore[union-attr]


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
    """The TOML in the module's docstring, its alternatives of a codec apart, is a recipe."""
    import tilewright.recipe

    text = (tilewright.recipe.__doc__ or "").partition("\n\n")[2].rpartition("\n\n")[0]
    kept = [line[4:] for line in text.splitlines()]
    dropped = ("bytes =", "max_error =", "traffic_mb =", "milliseconds =", "target =", "activations = [")
    text = "\n".join(line for line in kept if not line.startswith(dropped))
    import sys

    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    table = tomllib.loads(text)
    for codec in ("cluster", "astc", "allocate"):
        others = {"cluster", "astc", "allocate"} - {codec}
        quantize = {key: value for key, value in table["quantize"].items() if key != "weights"}
        load_recipe({key: value for key, value in table.items() if key not in others} | {"quantize": quantize})
