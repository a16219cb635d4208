"""Recipes that make no sense: errors that give the key's path."""

from __future__ import annotations

from pathlib import Path

import pytest

from tilewright.errors import RecipeError
from tilewright.recipe_loader import load_recipe


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
        ("[astc]\nastcenc = 101", r"astc\.block.*0 to 100, not 101"),
        ("[astc]\nastcenc = 60\nlevels = 4", r"astc\.block.*not both"),
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


def test_everything_wrong_is_listed_at_once() -> None:
    with pytest.raises(RecipeError) as caught:
        load_recipe({"prune": {"density": 3.0, "layout": "x"}, "quantize": {"weights": "int1", "activations": 3}})
    message = str(caught.value)
    assert all(key in message for key in ("prune.density", "prune.layout", "quantize.weights", "quantize.activations"))
