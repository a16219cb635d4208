"""Static facts of every generated Jetson kernel: registers, spills, shared memory. ptxas says them; not device time.

    python -m benchmarks.ptxas [--models mnist-conv model.onnx | --layers product-1 conv-3x3]
                               [--devices jetson-nano jetson-orin] [--precisions fp32 fp16] [--json out.json]

With --layers, and no names for all, it compiles small compressed layers of every layout and codec instead of models.

Exit code 1 where a model does not compile, or a kernel spills or takes more than 48 KiB of shared memory.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import tilewright
from benchmarks import static_check
from tilewright.targets import device_facts, resolve
from tilewright.targets.nvrtc import kernel_resources

DEVICES = ("jetson-nano", "jetson-tx2", "jetson-xavier", "jetson-orin")
SHARED_BYTES = 48 * 1024  # of a block, without asking the driver for more


@dataclass
class Row(static_check.Row):
    """One model on one device; ``unsound`` has the kernels that break a bar, and how."""

    kernels: int = 0
    registers: int = 0  # most of a thread
    spill_bytes: int = 0
    shared_bytes: int = 0  # most of a block
    unsound: dict[str, str] = field(default_factory=dict)

    def figures(self) -> dict[str, int]:
        names = ("kernels", "registers", "spill bytes", "shared bytes")
        return dict(zip(names, (self.kernels, self.registers, self.spill_bytes, self.shared_bytes), strict=True))

    def complaints(self) -> dict[str, str]:
        return self.unsound


def examine(row: Row, path: Path, shapes: static_check.Shapes) -> None:
    """Compiles a model for the row's device and fills the row in."""
    plan = tilewright.compile(path, resolve(row.device, row.precision), shapes=shapes).plan
    row.unpacked = dict(plan.unpacked)
    arch = str(device_facts(row.device)["archs"][0])
    for image in (image for module in plan.modules for image in module.images if image.kind == "ptx"):
        for name, used in kernel_resources(image.data, arch).items():
            row.kernels += 1
            row.registers = max(row.registers, used.registers)
            row.spill_bytes += used.spill_bytes
            row.shared_bytes = max(row.shared_bytes, used.shared_bytes)
            if used.spill_bytes or used.shared_bytes > SHARED_BYTES:
                row.unsound[name] = f"{used.spill_bytes} spill bytes, {used.shared_bytes} bytes of shared memory"


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command. Returns the exit code."""
    parser = static_check.parser(__doc__)
    parser.add_argument("--devices", nargs="+", default=list(DEVICES), choices=DEVICES)
    args = parser.parse_args(argv)
    return static_check.Check("Jetson kernels, static: ptxas, not device time", Row, examine).run(args, args.devices)


if __name__ == "__main__":
    sys.exit(main())
