"""Runs mypy over the package, which lies in several folders: links them together as pyproject.toml maps them."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def main() -> int:
    """Returns mypy's exit code."""
    root = Path(__file__).resolve().parent.parent
    mapping = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["setuptools"]["package-dir"]
    with tempfile.TemporaryDirectory() as folder:
        for package, source in sorted(mapping.items()):
            place = Path(folder, *package.split("."))
            place.mkdir(exist_ok=True)
            for entry in (root / source).iterdir():
                if entry.suffix in (".py", ".typed") or (entry.is_dir() and any(entry.glob("*.py"))):
                    (place / entry.name).symlink_to(entry)
        environment = {**os.environ, "MYPYPATH": folder}
        cache = root / ".mypy_cache"
        command = [
            sys.executable,
            "-m",
            "mypy",
            "--config-file",
            str(root / "pyproject.toml"),
            "--cache-dir",
            str(cache),
        ]
        return subprocess.run([*command, "-p", "tilewright", *sys.argv[1:]], env=environment, cwd=root).returncode


if __name__ == "__main__":
    raise SystemExit(main())
