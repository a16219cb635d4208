"""Compiles TFLite models with Vela, and runs what comes out on the interpreter."""

from __future__ import annotations

import csv
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tilewright.runtime import nna

ACCELERATORS: Final = ("ethos-u55-128", "ethos-u55-256", "ethos-u65-256", "ethos-u65-512")
CORES: Final = ("regor", "legacy")
"""Vela's two compilers: the present one, in C++, and the one in Python that it came from. Both are checked."""


@dataclass(frozen=True)
class Compiled:
    """Vela's raw output: a driver payload and where everything lies.

    Attributes:
        weights: what region ``weight_region`` holds.
        scratch: bytes of each writable region, by its number.
        fast: the regions in fast memory, where that is not all of them.
        cycles: Vela's estimate.
        inputs: shape, element size, region and offset, in the model's order; likewise outputs.
    """

    payload: bytes
    weight_region: int
    weights: NDArray[np.uint8]
    scratch: dict[int, int]
    fast: frozenset[int]
    cycles: float
    inputs: list[tuple[tuple[int, ...], int, int, int]]
    outputs: list[tuple[tuple[int, ...], int, int, int]]

    def run(self, inputs: list[NDArray[Any]], limit: int = 0) -> list[NDArray[Any]]:
        """Outputs, with the shapes that Vela gives them."""
        memory = {region: np.zeros(nbytes, np.uint8) for region, nbytes in self.scratch.items()}
        for array, (_, size, region, offset) in zip(inputs, self.inputs, strict=True):
            assert array.itemsize == size
            raw = np.frombuffer(np.ascontiguousarray(array).tobytes(), np.uint8)
            memory[region][offset : offset + raw.size] = raw
        regions = {region: nna.Region(data) for region, data in memory.items()}
        regions[self.weight_region] = nna.Region(self.weights, writable=False)
        nna.run(self.payload, regions, limit)
        outputs = []
        for shape, size, region, offset in self.outputs:
            nbytes = int(np.prod(shape)) * size
            dtype = {1: np.int8, 2: np.int16, 4: np.int32}[size]
            outputs.append(memory[region][offset : offset + nbytes].view(dtype).reshape(shape))
        return outputs


def compile_model(model: bytes, accelerator: str, core: str, folder: Path) -> Compiled:
    """Runs Vela on a TFLite model.

    Raises:
        RuntimeError: Vela failed, or left operators to the CPU.
    """
    out = Path(tempfile.mkdtemp(dir=folder))
    source = out / "model.tflite"
    source.write_bytes(model)
    command = [sys.executable, "-m", "ethosu.vela", source, "--output-format", "raw", "--output-dir", out]
    command += ["--accelerator-config", accelerator, *(["--debug-force-legacy-core"] if core == "legacy" else [])]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"Vela failed on {accelerator}: {(done.stdout + done.stderr)[-2000:]}")
    paths = list(out.glob("*.npz"))
    if len(paths) != 1:
        raise RuntimeError(f"Vela made {len(paths)} command streams for {accelerator}, not 1: {done.stdout[-2000:]}")
    with np.load(paths[0], allow_pickle=True) as raw:
        weights = np.frombuffer(raw["weight_data"].tobytes(), np.uint8)
        scratch, fasts = {int(raw["scratch_region"]): int(raw["scratch_size"])}, set()
        if int(raw["scratch_fast_size"]):
            fast = int(raw["scratch_fast_region"])
            scratch[fast] = max(scratch.get(fast, 0), int(raw["scratch_fast_size"]))
            fasts = {fast}
        return Compiled(
            raw["cmd_data"].tobytes(), int(raw["weight_region"]), weights, scratch, frozenset(fasts), _cycles(out),
            _ports(raw, "input"), _ports(raw, "output"),
        )  # fmt: skip


def _cycles(folder: Path) -> float:
    (path,) = folder.glob("*summary*.csv")
    with path.open() as file:
        return float(next(csv.DictReader(file))["cycles_total"])


def _ports(raw: Any, kind: str) -> list[tuple[tuple[int, ...], int, int, int]]:
    sizes, regions, offsets = (raw[f"{kind}_{name}"] for name in ("elem_size", "region", "offset"))
    shapes = [tuple(int(dim) for dim in shape) for shape in raw[f"{kind}_shape"]]
    return [(s, int(n), int(r), int(o)) for s, n, r, o in zip(shapes, sizes, regions, offsets, strict=True)]
