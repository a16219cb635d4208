"""Data flows one way, and so do imports: each part of the package uses only what comes after it, or below."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

# Part: folder, and the parts it may import. Everybody may import the leaves: errors, integer, plan and numeric.
PARTS = {
    "frontend": ("compiler/frontend", {"frontend", "passes", "formats", "lower"}),
    "passes": ("passes", {"passes", "formats"}),
    "formats": ("compiler/formats", {"formats"}),
    "integer": ("compiler/integer", {"integer"}),
    "lower": ("compiler/lower", {"lower", "targets", "formats"}),
    "targets": ("targets", {"targets", "formats"}),
    "runtime": ("runtime/python", {"runtime"}),
}
LEAVES = {"errors", "integer", "plan", "numeric"}


def imported(file: Path) -> set[str]:
    """First parts below ``tilewright`` of everything a file imports."""
    names = []
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names += [
                f"{node.module}.{alias.name}" if node.module == "tilewright" else node.module for alias in node.names
            ]
        elif isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
    return {name.split(".")[1] for name in names if name.startswith("tilewright.")}


@pytest.mark.parametrize("part", sorted(PARTS))
def test_parts_import_only_what_lies_behind_them(part: str) -> None:
    folder, allowed = PARTS[part]
    files = sorted((ROOT / folder).rglob("*.py"))
    assert files
    wrong = {str(file.relative_to(ROOT)): sorted(imported(file) - allowed - LEAVES) for file in files}
    assert {file: names for file, names in wrong.items() if names} == {}


def test_the_runtime_needs_no_compiler() -> None:
    """A board has NumPy and the runtime: no third-party module may creep in."""
    for file in (ROOT / "runtime" / "python").glob("*.py"):
        text = file.read_text(encoding="utf-8")
        assert not any(
            f"import {name}" in text or f"from {name}" in text for name in ("tvm", "onnx", "rich", "msgspec")
        )
