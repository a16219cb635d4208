"""What the GPU families share: dispatch to schedules, lowering, and the anatomy of generated kernel source."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import tvm
from tvm import tirx

from tilewright.plan import PackedParameter
from tilewright.targets.base import Code, KernelCall, KernelCode, Prepared, Target
from tilewright.targets.schedules import gpu_half, gpu_layout, gpu_packed_layers, gpu_rules
from tilewright.targets.schedules.gpu_common import GpuLimits, nodes
from tilewright.targets.tir import DeviceFunction, device_lower

_DEFINITION = re.compile(
    r'^(?P<head>(?:extern "C" __global__|__kernel)[^;{(]*(?:__launch_bounds__\(\d+\) )?)\b(?P<name>\w+)'
    r"\((?P<params>[^)]*)\) \{\n(?P<body>.*?)^\}$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Kernel:
    """One generated kernel, taken apart.

    Attributes:
        params: declarations, e.g. ``__global float* restrict x``.
        written: per parameter, whether the kernel stores through it.
        body: statements, without the braces.
    """

    name: str
    params: tuple[str, ...]
    written: tuple[bool, ...]
    block: tuple[int, int, int]
    body: str

    def names(self) -> tuple[str, ...]:
        """The parameters' names."""
        return tuple(re.split(r"[\s*]", param)[-1] for param in self.params)

    def normalised(self) -> tuple[str, ...]:
        """The kernel without the names that graph order gave it: equal for kernels that do the same."""
        order = {name: f"p{index}" for index, name in enumerate(self.names())}
        text = "\n".join((*self.params, self.body))
        text = re.sub(r"\b[A-Za-z_]\w*\b", lambda word: order.get(word[0], word[0]), text)
        return (text, str(self.block))


@dataclass(frozen=True)
class Generated:
    """All kernels of a network, identical ones once.

    Attributes:
        kernels: in the order of first use.
        functions: per PrimFunc its launches (entries are names of ``kernels``) and workspaces.
        prelude: what TVM puts before the kernels.
    """

    kernels: tuple[Kernel, ...]
    functions: Mapping[str, DeviceFunction]
    prelude: str


class GpuTarget(Target):
    """A family of GPUs. A subclass gives the TVM target and turns the generated kernels into images."""

    @property
    def limits(self) -> GpuLimits:
        """What a kernel may take of this device."""
        return GpuLimits.of(self.device.facts)

    def prepare(self, mod: Any, packed: Sequence[PackedParameter]) -> Prepared:
        """Packs weights, has kernels read compressed ones as they are, and in fp16 puts products in half precision."""
        if self.precision == "fp16":
            mod = gpu_half.to_half(mod)
        mod, packed, unpacked = gpu_packed_layers.prepare(mod, packed, self.limits)
        return Prepared(gpu_layout.pack_weights(mod), tuple(packed), unpacked)

    def schedule(self, mod: Any) -> Any:
        """Schedules every PrimFunc; see schedules/gpu_rules.py."""
        return gpu_rules.schedule(mod, self.tvm_target, self.limits)

    def codegen(self, kernels: Mapping[str, Any]) -> Code:
        """One module with all kernels of the network, identical ones once.

        Raises:
            ToolError: a compiler is missing or failed.
        """
        if not kernels:
            return Code({}, ())
        generated = generate(kernels, self.tvm_target)
        by_name = {kernel.name: kernel for kernel in generated.kernels}
        code = {
            name: KernelCode(
                tuple(KernelCall(call.entry, 0, call.args, call.grid, call.block) for call in function.calls),
                function.workspaces,
                "\n".join(self.kernel_source(by_name[call.entry]) for call in function.calls),
            )
            for name, function in generated.functions.items()
        }
        return replace(self.assemble(generated), kernels=code)

    @abstractmethod
    def kernel_source(self, kernel: Kernel) -> str:
        """The text of one kernel, ready for the device's compiler (after ``prelude``)."""

    @abstractmethod
    def assemble(self, generated: Generated) -> Code:
        """The one module of the network; its ``kernels`` are filled in by ``codegen``."""


def generate(kernels: Mapping[str, Any], target: Any) -> Generated:
    """Lowers scheduled PrimFuncs and has TVM write their source."""
    lowered = device_lower(kernels, target)
    source = tvm.get_global_func(f"target.build.{target.kind.name}")(lowered.module, lowered.target).inspect_source()
    written = {var.name_hint: _written(func) for var, func in lowered.module.functions.items()}
    blocks = {call.entry: call.block for function in lowered.functions.values() for call in function.calls}
    texts = {match["name"]: match for match in _DEFINITION.finditer(source)}
    canonical: dict[tuple[str, ...], Kernel] = {}
    entries: dict[str, str] = {}
    for function in lowered.functions.values():
        for call in function.calls:
            match = texts[call.entry]
            params = tuple(param.strip() for param in match["params"].split(","))
            kernel = Kernel(call.entry, params, written[call.entry], blocks[call.entry], match["body"])
            entries[call.entry] = canonical.setdefault(kernel.normalised(), kernel).name
    functions = {
        name: replace(function, calls=tuple(replace(call, entry=entries[call.entry]) for call in function.calls))
        for name, function in lowered.functions.items()
    }
    return Generated(tuple(canonical.values()), functions, _prelude(source))


def _prelude(source: str) -> str:
    """What comes before the first kernel declaration."""
    first = re.search(r'^(?:extern "C" __global__|__kernel)', source, re.MULTILINE)
    return source[: first.start() if first else len(source)]


def _written(func: Any) -> tuple[bool, ...]:
    """Per parameter of a lowered device function, whether it may be stored through.

    A parameter that escapes into anything but a buffer declaration (atomics, extern calls) counts as written.
    """
    alias: dict[Any, Any] = {}
    stored: set[Any] = set()
    for node in nodes(func.body, tirx.DeclBuffer, tirx.BufferStore, tvm.ir.Call):
        if isinstance(node, tirx.DeclBuffer):
            alias[node.buffer] = node.data
        elif isinstance(node, tirx.BufferStore):
            stored.add(alias.get(node.buffer, node.buffer))
        else:
            stored.update(alias.get(arg, arg) for arg in node.args if isinstance(arg, tirx.Var))
    return tuple(any(param.same_as(var) for var in stored) for param in func.params)
