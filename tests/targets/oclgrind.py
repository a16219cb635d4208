"""Runs an artifact under Oclgrind, which interprets every work-item, and checks each access and all for races."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from tilewright.artifact import Artifact

_RUN = """
import sys
import numpy as np
from tilewright.runtime import Session, devices
print([device for device in devices() if device.backend == "opencl"])
with Session(sys.argv[1]) as session:
    np.savez(sys.argv[3], **session.run(dict(np.load(sys.argv[2]))))
"""

# Its compiler defines the macro of every extension that there is.
_ABSENT = ("cl_arm_integer_dot_product_accumulate_int8", "cl_arm_integer_dot_product_int8")


def simulate(artifact: Artifact, feeds: Mapping[str, npt.NDArray[np.generic]], folder: Path) -> dict[str, np.ndarray]:
    """The outputs; fails the test where Oclgrind complains, and skips it where there is no Oclgrind."""
    places = (Path("/usr/lib"), Path("/usr/local/lib"))
    libraries = [library for place in places for library in place.glob("**/liboclgrind-rt-icd.so")]
    if not libraries:
        pytest.skip("no Oclgrind; install it with: apt-get install oclgrind")
    (folder / "oclgrind.icd").write_text(f"{libraries[0]}\n")
    files = [str(folder / name) for name in ("model.tw", "feeds.npz", "results.npz")]
    artifact.save(files[0])
    np.savez(files[1], **feeds)  # type: ignore[arg-type]
    environment = {
        **os.environ,
        "OCL_ICD_VENDORS": str(folder),
        "OCLGRIND_DATA_RACES": "1",
        "OCLGRIND_BUILD_OPTIONS": " ".join(f"-U{name}" for name in _ABSENT),
    }
    command = [sys.executable, "-c", _RUN, *files]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    report = done.stdout + done.stderr
    assert done.returncode == 0, report
    assert "Oclgrind" in done.stdout
    assert "Invalid" not in report, report
    assert "data race" not in report, report
    with np.load(files[2]) as results:
        return dict(results)
