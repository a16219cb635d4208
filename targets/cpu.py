"""The cpu family: machine code by LLVM for x86-64 and aarch64, one shared library of C functions a network."""

from __future__ import annotations

import platform
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import tvm
from tvm import tirx

from tilewright.errors import UsageError
from tilewright.plan import Image, Module, PackedParameter
from tilewright.targets.base import Code, Device, KernelCall, KernelCode, Prepared, Target
from tilewright.targets.cpu_link import link_shared
from tilewright.targets.schedules import cpu_prepare, cpu_rules
from tilewright.targets.tir import host_lower

# /proc/cpuinfo's names for the features that tell the devices apart; best device first.
_LEVELS = {
    "x86_64": (
        ("cpu-vnni", {"avx512f", "avx512cd", "avx512bw", "avx512dq", "avx512vl", "avx512_vnni"}),
        ("cpu-avx512", {"avx512f", "avx512cd", "avx512bw", "avx512dq", "avx512vl"}),
        ("cpu-avx2", {"avx2", "fma", "f16c"}),
    ),
    "aarch64": (
        ("cpu-i8mm", {"asimddp", "asimdhp", "i8mm"}),
        ("cpu-dotprod", {"asimddp", "asimdhp"}),
        ("cpu-neon", {"asimd"}),
    ),
}


def host_device() -> str:
    """The best device of the family that the building machine is: what a bare ``cpu`` means.

    Raises:
        UsageError: this machine is none of them.
    """
    levels = _LEVELS.get({"arm64": "aarch64", "AMD64": "x86_64"}.get(platform.machine(), platform.machine()), ())
    try:
        features = set(Path("/proc/cpuinfo").read_text().split())
    except OSError:  # not Linux: the oldest level that its machines have
        features = {"avx2", "fma", "f16c", "asimd"}
    for name, wanted in levels:
        if wanted <= features:
            return name
    raise UsageError(f"this {platform.machine()} machine is no known cpu level; name one with --target cpu-...")


class Cpu(Target):
    """CPU code through LLVM; one ``int32_t kernel(void *, ...)`` a PrimFunc, parallel loops on the runtime's pool."""

    family: ClassVar[str] = "cpu"
    backend: ClassVar[str] = "cpu"
    description: ClassVar[str] = "x86-64 (AVX2, AVX-512) and aarch64 (NEON) machine code"

    def __init__(self, device: Device, precision: str = "fp32") -> None:
        if precision != "fp32":
            raise UsageError(f"{device.name} computes in fp32 only; --precision {precision} is for GPUs")
        super().__init__(device, precision)

    @classmethod
    def generic_device(cls) -> str:
        return host_device()

    @property
    def tvm_target(self) -> Any:
        facts = self.device.facts
        return tvm.target.Target(
            {"kind": "llvm", "mtriple": facts["triple"], "mcpu": facts["mcpu"], "mattr": list(facts["mattr"])}
        )

    def prepare(self, mod: Any, packed: Sequence[PackedParameter]) -> Prepared:
        with self.tvm_target:
            return cpu_prepare.prepare(mod, self.device, packed)

    def schedule(self, mod: Any) -> Any:
        """Schedules every PrimFunc by the first rule that takes it; see schedules/cpu_rules.py."""
        functions = {}
        with self.tvm_target:
            for var, func in mod.functions.items():
                functions[var] = cpu_rules.schedule(func, self.device) if isinstance(func, tirx.PrimFunc) else func
        scheduled = tvm.IRModule(functions, attrs=mod.attrs)
        return scheduled

    def codegen(self, kernels: Mapping[str, Any]) -> Code:
        """One LLVM module for all kernels, linked to one ELF image.

        Raises:
            ToolError: no linker for the device's architecture, or a kernel calls into TVM's own runtime.
        """
        if not kernels:
            return Code({}, ())
        target = self.tvm_target
        lowered = host_lower(kernels, target)
        library = tvm.get_global_func("target.build.llvm")(lowered.module, target)
        with tempfile.TemporaryDirectory(prefix="tilewright-llvm-") as folder:
            path = Path(folder) / "kernels.o"
            library.write_to_file(str(path))
            shared = link_shared([path.read_bytes()], tuple(kernels), self.device.facts["arch"])
        facts = self.device.facts
        image = Image("elf", facts["arch"], tuple(facts["features"]), "", shared)
        code = {
            name: KernelCode((KernelCall(name, 0, tuple(range(len(func.params)))),)) for name, func in kernels.items()
        }
        return Code(code, (Module("kernels", (image,)),), lowered.scratch_bytes)
