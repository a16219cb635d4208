"""Writes constraints.txt: one exact version of every package, for every Python that the project supports.

    python scripts/update_constraints.py

Asks pip to resolve pyproject.toml's dependencies and extras for each Python version, without installing anything. Where
the versions differ between Pythons, the lines carry markers.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
PYTHONS = ("3.10", "3.11", "3.12", "3.13", "3.14")
# Pinned by hand. torch: its dependencies differ by build (CPU, CUDA), so pip cannot pick them for all. nncf: a rival,
# for one benchmark; its own pins shall not hold back ours. ethos-u-vela: has no wheel for the newest Python.
BY_HAND = ("ethos-u-vela==5.2.0", "nncf==3.4.0", "torch==2.13.0")
HEADER = """\
# Exact versions that this project is built and tested with; written by scripts/update_constraints.py.
"""


def requirements() -> list[str]:
    """Everything that pyproject.toml asks for, the build's own requirements included."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    extras = project["project"].get("optional-dependencies", {})
    wanted = [*project["build-system"]["requires"], *project["project"]["dependencies"]]
    wanted += [line for group in extras.values() for line in group]
    by_hand = tuple(pin.partition("==")[0] for pin in BY_HAND)
    return [line for line in wanted if not line.startswith(by_hand)]


def resolve(python: str, wanted: list[str]) -> dict[str, str]:
    """Package versions that pip picks for one Python.

    pip evaluates markers for the Python that runs it, so what only an older Python needs may be left
    unpinned.
    """
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed"]
        command += ["--only-binary", ":all:", "--python-version", python, "--target", folder, "--report", str(report)]
        subprocess.run([*command, *wanted], check=True)
        installs = json.loads(report.read_text())["install"]
    pairs = (item["metadata"] for item in installs)
    return {str(item["name"]).lower().replace("_", "-"): str(item["version"]).partition("+")[0] for item in pairs}


def marker(pythons: list[str]) -> str:
    """The environment marker for some of PYTHONS; empty for all of them."""
    if len(pythons) == len(PYTHONS):
        return ""
    if tuple(pythons) == PYTHONS[-len(pythons) :]:
        return f" ; python_version >= '{pythons[0]}'"
    return " ; " + " or ".join(f"python_version == '{python}'" for python in pythons)


def main() -> None:
    wanted = requirements()
    found: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for python in PYTHONS:
        for name, version in resolve(python, wanted).items():
            found[name][version].append(python)
    lines = [f"{name}=={version}{marker(pythons)}" for name in found for version, pythons in found[name].items()]
    (ROOT / "constraints.txt").write_text(HEADER + "\n".join(sorted([*lines, *BY_HAND])) + "\n")


if __name__ == "__main__":
    main()
