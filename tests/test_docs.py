"""What the documents show works as it stands there."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import pytest

from tilewright.formats.codecs.astc import file
from tilewright.formats.registry import parse
from tilewright.recipe_loader import PRESETS, load_recipe

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

TEXT = (Path(__file__).parent.parent / "docs" / "recipes.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```toml\n(.*?)```", TEXT, re.DOTALL)


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.split()[0])
def test_recipes_in_the_guide_are_recipes(block: str) -> None:
    load_recipe(tomllib.loads(block))


def test_the_guide_has_every_section_and_preset() -> None:
    sections = set(re.findall(r"^\[+(\w+)\]+", "\n".join(BLOCKS), re.MULTILINE))
    assert sections == {"prune", "quantize", "cluster", "astc", "allocate", "lowrank", "storage", "layer", "accuracy"}
    named = set(re.findall(r"`([\w-]+)`", TEXT.partition("## Presets")[2].partition("## Keys")[0]))
    assert set(PRESETS) <= named | {"mixed"}


def test_python_in_the_guide_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("astc_encoder", reason="pip install astc-encoder-py")
    monkeypatch.chdir(tmp_path)
    (snippet,) = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    exec(snippet, {"matrix": np.random.default_rng(0).standard_normal((20, 30)).astype(np.float32)})
    (written,) = tmp_path.glob("*.astc")
    assert file.read(written).shape == (20, 30)


def test_codecs_and_layouts_in_the_guide_exist() -> None:
    table = TEXT.partition("## Codecs and layouts")[2].partition("##")[0]
    specs = [
        spec
        for spec in re.findall(r"^\| `([^`]+)`", table, re.MULTILINE)
        if not {"k", "bh"} & set(re.findall(r"\w+", spec))
    ]
    assert len(specs) >= 5
    for spec in specs:
        parse(spec)
