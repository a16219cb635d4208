"""Static facts of every generated Jetson kernel: registers, spills, shared memory. ptxas says them; not device time.

    python -m benchmarks.ptxas [--models mnist-conv model.onnx] [--devices jetson-nano jetson-orin] [--json out.json]

Exit code 1 where a model does not compile, or a kernel spills or takes more than 48 KiB of shared memory.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table

import tilewright
from benchmarks.mali_isa import models
from tilewright.errors import TilewrightError
from tilewright.targets import device_facts, resolve
from tilewright.targets.nvrtc import kernel_resources

DEVICES = ("jetson-nano", "jetson-tx2", "jetson-xavier", "jetson-orin")
SHARED_BYTES = 48 * 1024  # of a block, without asking the driver for more


@dataclass
class Row:
    """One model on one device; ``unsound`` names the kernels that break a bar."""

    model: str
    device: str
    precision: str
    kernels: int = 0
    registers: int = 0  # most of a thread
    spill_bytes: int = 0
    shared_bytes: int = 0  # most of a block
    unsound: list[str] = field(default_factory=list)
    error: str = ""


def examine(row: Row, path: Path, shapes: dict[str, tuple[int, ...]]) -> None:
    """Compiles a model for the row's device and fills the row in."""
    plan = tilewright.compile(path, resolve(row.device, row.precision), shapes=shapes).plan
    arch = str(device_facts(row.device)["archs"][0])
    for image in (image for module in plan.modules for image in module.images if image.kind == "ptx"):
        for name, used in kernel_resources(image.data, arch).items():
            row.kernels += 1
            row.registers = max(row.registers, used.registers)
            row.spill_bytes += used.spill_bytes
            row.shared_bytes = max(row.shared_bytes, used.shared_bytes)
            if used.spill_bytes or used.shared_bytes > SHARED_BYTES:
                row.unsound.append(name)


def table(rows: Sequence[Row]) -> Table:
    """The figures, labelled for what they are."""
    made = Table(title="Jetson kernels, static: ptxas, not device time")
    for column in ("model", "device", "precision", "kernels", "registers", "spill bytes", "shared bytes", "verdict"):
        made.add_column(column, justify="left" if column in ("model", "device", "precision", "verdict") else "right")
    for row in rows:
        figures = (row.kernels, row.registers, row.spill_bytes, row.shared_bytes)
        verdict = row.error or ("unsound: " + ", ".join(row.unsound) if row.unsound else "ok")
        made.add_row(row.model, row.device, row.precision, *map(str, figures), verdict)
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command. Returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=[], help="zoo models or ONNX files (default: the whole zoo)")
    parser.add_argument("--devices", nargs="+", default=list(DEVICES), choices=DEVICES)
    parser.add_argument("--precisions", nargs="+", default=["fp32", "fp16"], choices=["fp32", "fp16"])
    parser.add_argument("--json", type=Path, help="write the rows here too")
    args = parser.parse_args(argv)
    console = Console(width=140)
    rows = []
    for name, path, shapes in models(args.models):
        for precision in args.precisions:
            for device in args.devices:
                row = Row(name, device, precision)
                rows.append(row)
                try:
                    examine(row, path, shapes)
                except TilewrightError as error:
                    row.error = str(error).splitlines()[0]
    console.print(table(rows))
    if args.json:
        args.json.write_text(json.dumps([dataclasses.asdict(row) for row in rows], indent=1))
    return 0 if all(not row.unsound and not row.error for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
