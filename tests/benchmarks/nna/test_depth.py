"""Forms of weights: what their names promise, and that fewer bits and more zeros are coded smaller."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("ethosu.vela", reason="no Vela: pip install 'tilewright[nna]'")
pytest.importorskip("ai_edge_litert", reason="no LiteRT: pip install 'tilewright[nna]'")

from benchmarks.nna.depth import FORMS, measure, table


def test_forms() -> None:
    normal = np.random.default_rng(0).normal(size=5000)
    for bits in range(2, 9):
        values = FORMS[f"{bits} bits"](normal)
        assert 2 ** (bits - 1) / 2 < np.abs(values).max() + 1 <= 2 ** (bits - 1)
    assert len(np.unique(FORMS["16 values of 8 bits"](normal))) == 16
    assert (FORMS["4 bits, 90 % zeros"](normal) == 0).mean() >= 0.9


def test_a_layer(tmp_path: Path) -> None:
    """Entropy bounds a code without context from below, but for what the codec knows of runs of zeros: none here."""
    layer, forms = "3 x 3, 14 x 14, 96 to 96", ("8 bits", "4 bits, 90 % zeros")
    rows = [measure(layer, form, "ethos-u55-256", tmp_path) for form in forms]
    for row in rows:
        assert row.entropy <= row.coded <= 1.15 * row.entropy
        assert row.cycles > 0
        assert row.vela_cycles > 0
    assert rows[0].coded > 5 * rows[1].coded
    assert len(table(rows).rows) == 2
