"""Slopes of time over density, the picture of them, and the table of block shapes."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console

from benchmarks import block_shapes, slope
from benchmarks.layers import Form
from benchmarks.pivot import Kept


def test_the_slope_of_proportional_time_is_one() -> None:
    proportional = slope.Curve("FC7", "fp32", slope.DENSITIES, slope.DENSITIES)
    assert proportional.slope == pytest.approx(1)
    # Half of the time stays whatever is removed: log2(1 / .5625) over three octaves, by least squares a little less.
    stubborn = slope.Curve("FC7", "fp32", tuple(0.5 + d / 2 for d in slope.DENSITIES), slope.DENSITIES)
    assert 0.2 < stubborn.slope < 0.3
    assert stubborn.slope < slope.BAR


def test_what_is_below_the_least_density_does_not_count() -> None:
    ratios = tuple(d if d >= slope.LEAST else 100.0 for d in slope.DENSITIES)
    assert slope.Curve("FC7", "fp32", ratios, ratios).slope == pytest.approx(1)


@pytest.mark.parametrize("kind", slope.KINDS)
def test_a_form_for_every_density(kind: str) -> None:
    forms = slope.forms(slope.LAYERS["1x1-256@28"], kind)
    assert tuple(form.density for form in forms) == slope.DENSITIES
    assert len({form.name for form in forms}) == len(forms)
    assert {form.activations for form in forms} == {"static" if kind == "int8" else "float"}


def test_plot(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="pip install matplotlib")
    slope.plot([slope.Curve("FC7", "int8", slope.DENSITIES, slope.DENSITIES)], tmp_path / "slope.png")
    assert (tmp_path / "slope.png").read_bytes().startswith(b"\x89PNG")


def test_block_shapes() -> None:
    for weights, blocks in block_shapes.SHAPES.items():
        assert all(height * width == weights for height, width in blocks)
    forms = block_shapes.forms(block_shapes.LAYERS["FC8"], [(16, 4), (8, 1)])
    assert [form.name for form in forms] == ["fp32 16x4", "fp32 8x1", "int8 16x4", "int8 8x1"]
    assert forms[2] == Form("int8 16x4", (16, 4), 0.1, "int8", "dynamic")
    kept = Kept("net", (16, 4), 0.11, 0.22, 0.55, 0.33)
    shape = block_shapes.Shape((16, 4), {"FC8": 0.5}, {"FC8": 0.25}, {"net": kept})
    console = Console(width=200, record=True)
    console.print(block_shapes.table([shape], ["FC8"], ["net"]))
    text = console.export_text()
    for figure in ("64", "16x4", "0.500", "0.250", "0.110", "0.330", "0.220", "0.550"):
        assert figure in text
