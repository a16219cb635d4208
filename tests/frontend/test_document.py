from __future__ import annotations

from pathlib import Path

from tilewright.frontend.document import document


def test_the_committed_table_is_up_to_date() -> None:
    path = Path(__file__).parents[2] / "docs" / "operators.md"
    assert path.read_text() == document(), "run: python -m tilewright.frontend.document > docs/operators.md"
