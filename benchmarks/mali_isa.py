"""Static facts of every generated Mali kernel: instructions, cycles, spills, local memory; not device time.

    python -m benchmarks.mali_isa [--models mnist-conv model.onnx | --layers product-1 conv-3x3]
                                  [--gpus g52 g57] [--precisions fp32 fp16] [--compiler CMD] [--json out.json]

With --layers, and no names for all, it compiles small compressed layers of every layout and codec instead of models.

CMD (or the environment variable TILEWRIGHT_MALI_COMPILER) is any command that compiles OpenCL C with Mesa's Panfrost
compiler, without a device, and prints shader-db statistics. `CMD -g g52 FILE.cl` has to print `BUILD 0`, a line with
`<n> inst ... <n> cycles ... <spills>:<fills> spills:fills` per kernel (the text of BIFROST_MESA_DEBUG=shaderdb), and
a line `KERNEL <name> ... local=<bytes> private=<bytes>` per kernel (of clGetKernelWorkGroupInfo).

Exit code 1 where a kernel does not compile, spills, or takes more than 32 KiB of local memory. The figures say how
large the code is and whether it fits the registers; they say nothing about time. Cycles are the compiler's own estimate
for a work-item, every loop run once, of the unit that has most to do: with few rows, load and store.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import tilewright
from benchmarks import static_check
from tilewright.errors import ToolError
from tilewright.plan import Plan
from tilewright.targets import resolve
from tilewright.targets.opencl_source import split

COMPILER_VARIABLE = "TILEWRIGHT_MALI_COMPILER"
LOCAL_BYTES = 32 * 1024  # local memory of every Mali since Bifrost
_TOGETHER = 16  # kernels of one compiler run; the statistics of one run are not in the order of its kernels


@dataclass(frozen=True)
class Statistics:
    """What the compiler says of some kernels together.

    Attributes:
        cycles: estimated by the compiler, of the busiest unit of each kernel.
        spills: stores and loads of registers that did not fit.
        local_bytes: the most that one of the kernels takes.
        error: the compiler's complaint, or "".
    """

    kernels: int = 0
    instructions: int = 0
    cycles: int = 0
    spills: int = 0
    local_bytes: int = 0
    private_bytes: int = 0
    error: str = ""

    @property
    def sound(self) -> bool:
        return not self.error and not self.spills and self.local_bytes <= LOCAL_BYTES

    def __add__(self, other: Statistics) -> Statistics:
        return Statistics(
            self.kernels + other.kernels,
            self.instructions + other.instructions,
            self.cycles + other.cycles,
            self.spills + other.spills,
            max(self.local_bytes, other.local_bytes),
            max(self.private_bytes, other.private_bytes),
            self.error or other.error,
        )


@dataclass
class Row(static_check.Row):
    """One model for one GPU and precision; ``unsound`` names the kernels that break a bar."""

    statistics: Statistics = field(default_factory=Statistics)
    unsound: dict[str, Statistics] = field(default_factory=dict)

    def figures(self) -> dict[str, int]:
        got = self.statistics
        names = ("kernels", "instructions", "cycles", "spills", "local bytes")
        figures = (got.kernels, got.instructions, got.cycles, got.spills, got.local_bytes)
        return dict(zip(names, figures, strict=True))

    def complaints(self) -> dict[str, str]:
        return {
            kernel: found.error or f"{found.spills} spills, {found.local_bytes} bytes of local memory"
            for kernel, found in self.unsound.items()
        }


class Compiler:
    """Mesa's offline compiler behind a command line."""

    def __init__(self, command: str) -> None:
        self.command = shlex.split(command)
        self.known: dict[tuple[str, str], Statistics] = {}

    def compile(self, gpu: str, source: str) -> Statistics:
        """Compiles one OpenCL program.

        Raises:
            ToolError: the command cannot be started, or prints nothing of what is expected.
        """
        if (gpu, source) not in self.known:
            self.known[gpu, source] = self._compile(gpu, source)
        return self.known[gpu, source]

    def _compile(self, gpu: str, source: str) -> Statistics:
        with tempfile.TemporaryDirectory(prefix="tilewright-isa-") as folder:
            path = Path(folder) / "kernels.cl"
            path.write_text(source, encoding="utf-8")
            try:
                done = subprocess.run(
                    [*self.command, "-g", gpu, str(path)], capture_output=True, text=True, check=False
                )
            except OSError as error:
                raise ToolError(f"cannot start {self.command[0]}: {error.strerror}") from error
        text = done.stdout + done.stderr
        build = re.search(r"^BUILD (-?\d+)(.*)", text, re.MULTILINE | re.DOTALL)
        if build is None:
            raise ToolError(f"{self.command[0]} printed no BUILD line:\n{text[-500:]}")
        if build[1] != "0":
            return Statistics(error=build[2].strip()[:300] or f"build error {build[1]}")
        kernels = re.findall(r"^KERNEL .*local=(\d+) private=(\d+)", text, re.MULTILINE)
        shaders = re.findall(r"(\d+) inst\b.*?(\d+)\.\d+ cycles.*?(\d+):(\d+) spills:fills", text)
        if not kernels or len(shaders) < len(kernels):
            raise ToolError(f"{self.command[0]} printed statistics of {len(shaders)} of {len(kernels)} kernels")
        return Statistics(
            len(kernels),
            sum(int(count) for count, _, _, _ in shaders),
            sum(int(cycles) for _, cycles, _, _ in shaders),
            sum(int(stores) + int(reloads) for _, _, stores, reloads in shaders),
            max(int(local) for local, _ in kernels),
            max(int(private) for _, private in kernels),
        )


def programs(plan: Plan) -> Iterable[str]:
    """The OpenCL programs of a plan."""
    return (image.data.decode() for module in plan.modules for image in module.images if image.kind == "opencl")


def examine(plan: Plan, compiler: Compiler, row: Row) -> None:
    """Compiles all kernels of a plan for the row's GPU and fills the row in.

    Those of an unsound group are compiled once more one by one, to name the culprits.
    """
    row.unpacked = dict(plan.unpacked)
    for program in programs(plan):
        prelude, kernels = split(program)
        names = list(kernels)
        for start in range(0, len(names), _TOGETHER):
            group = names[start : start + _TOGETHER]
            try:
                found = compiler.compile(row.device, prelude + "\n".join(kernels[name] for name in group))
            except ToolError:  # kernels that come out alike share one line of statistics; alone, each has its own
                alone = [compiler.compile(row.device, prelude + kernels[name]) for name in group]
                found = sum(alone[1:], alone[0])
            if not found.sound:
                single = {name: compiler.compile(row.device, prelude + kernels[name]) for name in group}
                row.unsound |= {name: one for name, one in single.items() if not one.sound}
            row.statistics += found


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command. Returns the exit code."""
    parser = static_check.parser(__doc__)
    parser.add_argument("--gpus", nargs="+", default=["g52", "g57"], help="Mali GPUs that both sides know")
    parser.add_argument("--compiler", default=os.environ.get(COMPILER_VARIABLE), help=f"default: ${COMPILER_VARIABLE}")
    args = parser.parse_args(argv)
    if not args.compiler:
        parser.error(f"no compiler: give --compiler or set {COMPILER_VARIABLE}")
    compiler = Compiler(args.compiler)

    def fill_in(row: Row, path: Path, shapes: static_check.Shapes) -> None:
        target = resolve(f"mali-{row.device}", row.precision)
        examine(tilewright.compile(path, target, shapes=shapes).plan, compiler, row)

    title = "Mali kernels, static: Mesa's compiler, not device time"
    return static_check.Check(title, Row, fill_in).run(args, args.gpus)


if __name__ == "__main__":
    sys.exit(main())
