"""apt-install.sh with stand-ins for Debian's tools: what it says and asks for, and that it never fails."""

from __future__ import annotations

import subprocess
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "scripts" / "apt-install.sh"


def run(folder: Path, *packages: str, **tools: str) -> subprocess.CompletedProcess[str]:
    """Runs the script with a PATH of `tools` (name to shell script) and basic commands alone."""
    for name in ("bash", "dirname", "sed", "env"):
        (folder / name).symlink_to(f"/usr/bin/{name}")
    for name, text in tools.items():
        path = folder / name.replace("_", "-")
        path.write_text(f"#!/usr/bin/bash\n{text}\n")
        path.chmod(0o755)
    command = ["/usr/bin/bash", str(SCRIPT), *packages]
    return subprocess.run(command, capture_output=True, text=True, check=False, env={"PATH": str(folder)})


def test_nothing_to_do(tmp_path: Path) -> None:
    done = run(tmp_path, dpkg_query="echo -n installed")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_other_system(tmp_path: Path) -> None:
    done = run(tmp_path, "clinfo")
    assert done.returncode == 0
    assert "no Debian" in done.stderr
    assert "clinfo" in done.stderr


def test_no_rights(tmp_path: Path) -> None:
    tools = {"dpkg_query": "exit 1", "apt_get": "exit 1", "id": "echo 1000", "sudo": "exit 1"}
    done = run(tmp_path, "clinfo", **tools)
    assert done.returncode == 0
    assert "sudo apt-get install clinfo" in done.stderr


def test_installs_what_is_known(tmp_path: Path) -> None:
    log = tmp_path / "log"
    tools = {
        "dpkg_query": '[ "$4" = here ] && echo -n installed',
        "apt_get": f'echo "$@" >>{log}',
        "apt_cache": '[ "$2" != strange ]',
        "id": "echo 0",
    }
    done = run(tmp_path, "here", "clinfo", "strange", **tools)
    assert done.returncode == 0
    assert log.read_text().splitlines() == ["update -qq", "install -y -qq --no-install-recommends clinfo"]
    assert "no package strange" in done.stderr
