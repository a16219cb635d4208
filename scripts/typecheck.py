"""Runs mypy over the package, which lies in several folders: links them together as pyproject.toml maps them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def main() -> int:
    """Returns mypy's exit code."""
    root = Path(__file__).resolve().parent.parent
    mapping = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["setuptools"]["package-dir"]
    links = root / ".mypy_cache" / "package"  # always the same place, so that mypy's cache stays valid
    shutil.rmtree(links, ignore_errors=True)
    for package, source in sorted(mapping.items()):
        place = links.joinpath(*package.split("."))
        place.mkdir(parents=True, exist_ok=True)
        for entry in (root / source).iterdir():
            if entry.suffix in (".py", ".typed") or (entry.is_dir() and any(entry.glob("*.py"))):
                (place / entry.name).symlink_to(entry)
    command = [sys.executable, "-m", "mypy", "--config-file", str(root / "pyproject.toml"), "-p", "tilewright"]
    return subprocess.run([*command, *sys.argv[1:]], env={**os.environ, "MYPYPATH": str(links)}, cwd=root).returncode


if __name__ == "__main__":
    raise SystemExit(main())
