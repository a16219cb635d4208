"""The mali family: OpenCL C 1.2 source for Arm's Bifrost and Valhall GPUs, one program a network.

The driver compiles the program on the device (and the runtime caches the binary), so what leaves here is text. Kernels
state their work-group size: the driver then allots registers for exactly that size.
"""

from __future__ import annotations

import re
from typing import Any, ClassVar

import tvm

from tilewright.plan import Image, Module, Plan
from tilewright.targets.base import Code
from tilewright.targets.gpu import Generated, GpuTarget, Kernel
from tilewright.targets.mali_images import with_images
from tilewright.targets.opencl_source import extensions, program, without_halves
from tilewright.targets.opencl_vectors import with_vectors

_OPTIONS = "-cl-std=CL1.2"
_IDS = {
    "(convert_int(get_local_id({})))": "local_{}",
    "(convert_int(get_group_id({})))": "group_{}",
}

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
        body = without_halves(params, body)
        size = ", ".join(map(str, kernel.block))
        head = f"__kernel __attribute__((reqd_work_group_size({size})))\nvoid {kernel.name}({params})"
        return with_vectors(f"{head} {{\n{''.join(ids)}{body}}}\n")

    def assemble(self, generated: Generated) -> Code:
        kernels = "\n".join(self.kernel_source(kernel) for kernel in generated.kernels)
        image = Image("opencl", "", extensions(kernels), _OPTIONS, program(kernels).encode())
        return Code({}, (Module("kernels", (image,)),))

    def finish(self, plan: Plan) -> Plan:
        """Has weights read through images where the device's ``weight_images`` allows some texels."""
        limit = int(self.device.facts["weight_images"])
        return with_images(plan, limit) if limit else plan
