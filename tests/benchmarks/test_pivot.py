"""The pivoting benchmark's own arithmetic."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.pivot import BLOCKS, Kept, bars, kept, main, planted, together, two_four


def test_kept_by_hand() -> None:
    """One 4x4 block of 2 in a corner of ones, 10 % of 16x40: the block row of it keeps 32, the others 16 each."""
    matrix = np.ones((1, 16, 40), np.float32)
    matrix[0, :4, :4] = 2
    row = kept("corner", matrix, (4, 4))
    total = 16 * 40 + 16
    assert row.unpivoted == pytest.approx((32 + 3 * 16) / total)
    assert row.pivoted == pytest.approx((32 + 3 * 16) / total)
    assert row.unstructured == pytest.approx((32 + 48) / total)  # 64 elements: the 16 large ones and 48 ones
    assert row.gained == 1.0  # no room to gain


def test_several_matrices_count_by_magnitude() -> None:
    rows = [(Kept("a", (4, 4), 0.1, 0.2, 0.4), 300.0), (Kept("b", (4, 4), 0.5, 0.6, 0.8), 100.0)]
    whole = together("both", rows, [(0.15, 300.0), (0.55, 100.0)])
    assert whole.unpivoted == pytest.approx(0.2)
    assert whole.pivoted == pytest.approx(0.3)
    assert whole.unstructured == pytest.approx(0.5)
    assert whole.network == pytest.approx(0.25)
    assert whole.gained == pytest.approx(1 / 3)


def test_bars() -> None:
    good, bad = Kept("good", (4, 4), 0.2, 0.35, 0.4), Kept("bad", (4, 4), 0.2, 0.19, 0.4)
    assert [bar.holds for bar in bars([good], [good])] == [True, True]
    assert [bar.holds for bar in bars([good, bad], [bad])] == [False, False]
    shared = [Kept("net", (4, 4), 0.2, 0.3, 0.4, inside) for inside in (0.25, 0.15)]
    assert [bar.holds for bar in bars([], [], shared)] == [True, True, False]


@pytest.mark.parametrize("blocks", BLOCKS)
def test_planted_matrices_hold_ten_percent_of_blocks(blocks: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.pivot.PLANTED", (128, 160))
    row = planted(blocks, 0.0)
    assert row.unstructured == pytest.approx(1.0)  # all magnitude lies in 10 % of the elements
    assert row.gained > 0.5


def test_two_four() -> None:
    assert two_four().holds


def test_without_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("benchmarks.pivot.PLANTED", (128, 160))
    code = main(["--models", "--no-time", "--json", str(tmp_path / "out.json")])
    written = json.loads((tmp_path / "out.json").read_text())
    assert len(written["rows"]) == 4
    assert code == (0 if all(bar["holds"] for bar in written["bars"]) else 1)
    assert "planted" in capsys.readouterr().out
