"""Links the objects of the cpu family into one small shared library, with whatever linker the machine has."""

from __future__ import annotations

import importlib.util
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tilewright.errors import ToolError

SLOTS = "__TVMBackend*"  # function pointers that the runtime fills after loading


@dataclass(frozen=True)
class Linker:
    """A command that makes shared libraries for one architecture.

    Attributes:
        command: the program and the options that pick the architecture.
        has_libraries: it knows where the target's C library is, so undefined symbols can be refused.
    """

    command: tuple[str, ...]
    has_libraries: bool


def find_linker(arch: str) -> Linker:
    """The first linker for ``arch`` (``x86_64`` or ``aarch64``) on this machine.

    Raises:
        ToolError: there is none; the message says how to get one.
    """
    candidates = []
    if platform.machine() == arch:
        candidates += [Linker((name,), True) for name in ("cc", "c++", "gcc", "clang")]
    candidates += [Linker((f"{arch}-linux-gnu-gcc",), True)]
    for linker in candidates:
        if shutil.which(linker.command[0]):
            return linker
    if importlib.util.find_spec("ziglang"):
        return Linker((sys.executable, "-m", "ziglang", "cc", "-target", f"{arch}-linux-gnu"), True)
    if shutil.which("clang") and shutil.which("ld.lld"):
        return Linker(("clang", f"--target={arch}-linux-gnu", "-fuse-ld=lld", "-nostdlib"), False)
    package = "g++" if platform.machine() == arch else f"g++-{arch.replace('_', '-')}-linux-gnu"
    raise ToolError(f"no linker for {arch} found; run: apt install {package} (or: pip install ziglang)")


def link_shared(objects: Sequence[bytes], exports: Sequence[str], arch: str) -> bytes:
    """Links ELF objects into a stripped shared library that shows ``exports`` and the runtime's slots, nothing else.

    Args:
        objects: relocatable ELF files of position-independent code.
        exports: the symbols to keep visible.
        arch: ``x86_64`` or ``aarch64``.

    Raises:
        ToolError: no linker, or it failed, e.g. because code calls a function that only TVM's own runtime has.
    """
    linker = find_linker(arch)
    with tempfile.TemporaryDirectory(prefix="tilewright-link-") as folder:
        root = Path(folder)
        inputs = []
        for index, data in enumerate(objects):
            inputs.append(root / f"{index}.o")
            inputs[-1].write_bytes(data)
        visible = "".join(f"{name}; " for name in (*exports, SLOTS))
        (root / "exports.map").write_text(f"{{ global: {visible}local: *; }};\n")
        output = root / "kernels.so"
        command = [
            *linker.command,
            "-shared",
            "-nostartfiles",
            "-s",
            f"-Wl,--version-script={root / 'exports.map'}",
            "-Wl,--gc-sections",
            "-Wl,--build-id=none",
            "-Wl,--as-needed",
            *map(str, inputs),
            "-o",
            str(output),
        ]
        if linker.has_libraries:
            command += ["-Wl,-z,defs", "-lm", "-lc"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise ToolError(f"{' '.join(linker.command)} could not link the kernels:\n{done.stderr.strip()[-4000:]}")
        return output.read_bytes()
