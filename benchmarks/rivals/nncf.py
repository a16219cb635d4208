"""NNCF's post-training quantization on ONNX, each run in a process of its own.

As a process, because NNCF reports its use over the network unless the environment says that this is a CI job, and
because its logging and its memory stay there.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.rivals.base import Feeds, Rival, RivalError, stacked

ROOT = Path(__file__).resolve().parents[2]


def _run(mode: str, source: Path, calibration: Feeds, target: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "calibration.npz"
        np.savez(data, **stacked(calibration))  # type: ignore[arg-type]  # numpy's stub takes names for flags
        command = [sys.executable, "-m", "benchmarks.rivals.nncf_worker", mode, str(source), str(data), str(target)]
        done = subprocess.run(
            command, cwd=ROOT, env={**os.environ, "CI": "true"}, capture_output=True, text=True, check=False
        )
    if done.returncode:
        raise RivalError(f"nncf {mode}: {' '.join(done.stderr.splitlines()[-1:])[:300]}")


RIVALS = (
    Rival("nncf int8", "nncf", True, partial(_run, "int8")),
    Rival("nncf weights int8", "nncf", False, partial(_run, "weights-int8")),
    Rival("nncf weights int4 g32", "nncf", False, partial(_run, "weights-int4")),
)
