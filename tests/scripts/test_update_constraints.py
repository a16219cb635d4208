"""The pinned versions."""

from __future__ import annotations

import re

from scripts.update_constraints import BY_HAND, PYTHONS, ROOT, marker, requirements


def test_markers() -> None:
    assert marker(list(PYTHONS)) == ""
    assert marker(["3.10"]) == " ; python_version == '3.10'"
    assert marker(list(PYTHONS[1:])) == " ; python_version >= '3.11'"
    assert marker(["3.10", "3.12"]) == " ; python_version == '3.10' or python_version == '3.12'"


def test_every_requirement_is_pinned() -> None:
    pinned = {line.partition("==")[0] for line in (ROOT / "constraints.txt").read_text().splitlines()}
    unconditional = [line for line in requirements() if ";" not in line]
    names = {re.split(r"[^\w.-]", line)[0].lower() for line in unconditional}
    assert names | {pin.partition("==")[0] for pin in BY_HAND} <= pinned
