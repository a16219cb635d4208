"""The mali family: OpenCL C 1.2 source for Arm's Bifrost and Valhall GPUs, one program a network.

The driver compiles the program on the device (and the runtime caches the binary), so what leaves here is text. Kernels
state their work-group size: the driver then allots registers for exactly that size.
"""

from __future__ import annotations

import re
from typing import Any, ClassVar

import tvm

from tilewright.plan import Image, Module
from tilewright.targets.base import Code
from tilewright.targets.gpu import Generated, GpuTarget, Kernel
from tilewright.targets.schedules import gpu_dot

_OPTIONS = "-cl-std=CL1.2"
_IDS = {
    "(convert_int(get_local_id({})))": "local_{}",
    "(convert_int(get_group_id({})))": "group_{}",
}

_HALF_POINTER = re.compile(r"\bhalf\* restrict (\w+)")

# TVM has no OpenCL names for these and writes C's, with an f for single precision.
_C_NAMES = re.compile(r"\b(a?(?:sin|cos|tan)h?|erf|log1p|expm1|hypot|nextafter|ldexp|copysign)f\(")


class Mali(GpuTarget):
    """OpenCL C for Mali."""

    family: ClassVar[str] = "mali"
    backend: ClassVar[str] = "opencl"
    description: ClassVar[str] = "Arm Mali GPUs through OpenCL 1.2; any other OpenCL 1.2 device runs it too"

    @property
    def tvm_target(self) -> Any:
        limits = self.limits
        return tvm.target.Target(
            {
                "kind": "opencl",
                "device": "mali",
                "max_num_threads": limits.threads,
                "max_shared_memory_per_block": limits.local_bytes,
            },
            host="llvm",
        )

    def kernel_source(self, kernel: Kernel) -> str:
        body, ids = kernel.body, []
        for call, name in _IDS.items():
            for axis in range(3):
                if call.format(axis) in body:
                    body = body.replace(call.format(axis), name.format("xyz"[axis]))
                    function = call.format(axis).removeprefix("(convert_int(").removesuffix("))")
                    ids.append(f"  const int {name.format('xyz'[axis])} = (int){function};\n")
        body = _C_NAMES.sub(r"\1(", body)
        params = ", ".join(
            param if written else param.replace("__global ", "__global const ", 1)
            for param, written in zip(kernel.params, kernel.written, strict=True)
        )
        floats = body
        for name in _HALF_POINTER.findall(params):
            floats = _load_as_float(floats, name)
        if not _computes_halves(f"{params} {floats}"):
            body = floats
        size = ", ".join(map(str, kernel.block))
        head = f"__kernel __attribute__((reqd_work_group_size({size})))\nvoid {kernel.name}({params})"
        return f"{head} {{\n{''.join(ids)}{body}}}\n"

    def assemble(self, generated: Generated) -> Code:
        kernels = "\n".join(self.kernel_source(kernel) for kernel in generated.kernels)
        image = Image("opencl", "", extensions(kernels), _OPTIONS, program(kernels).encode())
        return Code({}, (Module("kernels", (image,)),))


def extensions(kernels: str) -> tuple[str, ...]:
    """The OpenCL extensions that these kernels need; the runtime refuses a device that lacks one."""
    found = []
    if any(_computes_halves(kernel) for kernel in kernels.split("__kernel ")):
        found.append("cl_khr_fp16")
    if re.search(r"\b(convert_)?double\d*\b", kernels):
        found.append("cl_khr_fp64")
    return tuple(found)


def _load_as_float(body: str, name: str) -> str:
    """Loads of halves that are converted at once, by the functions that OpenCL has for them without cl_khr_fp16."""
    body = _replace_loads(body, f"convert_float({name}[", "]", f"vload_half({{}}, {name})")
    for lanes in (2, 4):
        start = f"convert_float{lanes}(vload{lanes}(0, {name} + "
        body = _replace_loads(body, start, ")", f"vload_half{lanes}(0, {name} + {{}})")
    return body


def _replace_loads(body: str, start: str, close: str, load: str) -> str:
    """Replaces every ``start``, an expression, ``close`` and ``)`` by ``load`` of the expression."""
    parts, opening = [], {"]": "[", ")": "("}[close]
    while (at := body.find(start)) >= 0:
        end, depth = at + len(start), 1
        while depth:
            depth += {opening: 1, close: -1}.get(body[end], 0)
            end += 1
        if body[end] == ")":
            parts += [body[:at], load.format(body[at + len(start) : end - 1])]
            end += 1
        else:  # an expression that begins with the load
            parts.append(body[:end])
        body = body[end:]
    return "".join([*parts, body])


def _computes_halves(kernel: str) -> bool:
    """Whether a kernel has halves other than those that ``vload_half`` reads."""
    rest = re.sub(r"\bhalf\*|\bvload_half\d\(0, \w+ \+", "", kernel)
    if re.search(r"\b(convert_)?half\d*\b", rest):
        return True
    return any(
        re.search(rf"\b{name}(?:\[| \+)|\bvload\d+\(\w+, {name}\b", rest) for name in _HALF_POINTER.findall(kernel)
    )


def program(kernels: str) -> str:
    """A complete OpenCL program: the pragmas that these kernels need, then the kernels."""
    pragmas = [f"#pragma OPENCL EXTENSION {extension} : enable\n" for extension in extensions(kernels)]
    return "".join(pragmas) + ("\n" if pragmas else "") + gpu_dot.source_of(gpu_dot.OPENCL, kernels) + kernels
