"""The nna family: neural network accelerators. Quantized parts of a network run there, the rest on the host's cpu.

``compiler/frontend/quantized`` finds the parts, ``compiler/lower/accelerators.py`` compiles them; what reaches this
file are kernels for the cpu and finished command streams.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import tvm

from tilewright.errors import UsageError
from tilewright.plan import PackedParameter
from tilewright.targets.base import Code, Device, Prepared, Target
from tilewright.targets.cpu import Cpu, host_device
from tilewright.targets.streams import is_stream, stream_code

_KINDS = {"ethos": "ethosu", "vbd": "vbd"}  # of images, by how an accelerator's name starts


class Nna(Target):
    """Arm Ethos-U, or an NNA of variable bit depth, with the building machine as its host."""

    family: ClassVar[str] = "nna"
    backend: ClassVar[str] = "nna"
    description: ClassVar[str] = (
        "streams of Arm Ethos-U or of an NNA with variable bit depth for quantized layers, cpu code for all others"
    )

    def __init__(self, device: Device, precision: str = "fp32") -> None:
        if precision != "fp32":
            raise UsageError(f"{device.name} computes in integers and its host in fp32; --precision is for GPUs")
        super().__init__(device, precision)
        self._host = _host()

    @classmethod
    def generic_device(cls) -> str:
        return "nna-ethos-u55-128"

    @property
    def accelerator(self) -> str:
        """What Vela calls the device, or ``vbd-2048``."""
        return str(self.device.facts["accelerator"])

    @property
    def tvm_target(self) -> Any:
        return self._host.tvm_target

    def prepare(self, mod: Any, packed: Sequence[PackedParameter]) -> Prepared:
        return self._host.prepare(mod, packed)

    def schedule(self, mod: Any) -> Any:
        streams = {var: function for var, function in mod.functions.items() if is_stream(function)}
        rest = {var: function for var, function in mod.functions.items() if var not in streams}
        scheduled = self._host.schedule(tvm.IRModule(rest, attrs=mod.attrs))
        return tvm.IRModule({**dict(scheduled.functions.items()), **streams}, attrs=mod.attrs)

    def codegen(self, kernels: Mapping[str, Any]) -> Code:
        """Cpu code for the host's kernels, an image for each stream.

        Raises:
            ToolError: no linker for the host.
        """
        streams = {name: function for name, function in kernels.items() if is_stream(function)}
        host = self._host.codegen({name: function for name, function in kernels.items() if name not in streams})
        kind, _, arch = self.accelerator.partition("-")
        code, modules = stream_code(streams, _KINDS[kind], arch, len(host.modules))
        return Code({**host.kernels, **code}, (*host.modules, *modules), host.scratch_bytes)


def _host() -> Cpu:
    from tilewright.targets import device_facts

    name = host_device()
    return Cpu(Device(name, device_facts(name)))
