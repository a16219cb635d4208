"""The jetson family: CUDA C++ compiled to one cubin a GPU generation, and PTX for what comes later."""

from __future__ import annotations

import re
from typing import Any, ClassVar

import tvm

from tilewright.plan import Image, Module
from tilewright.targets.base import Code
from tilewright.targets.gpu import Generated, GpuTarget, Kernel
from tilewright.targets.nvrtc import compile_cuda
from tilewright.targets.schedules import gpu_dot, gpu_pairs

# TVM opens with <cuda/std/cstdint> and <cuda/std/type_traits>: two seconds of NVRTC, for a few names.
_STANDARD_HEADERS = re.compile(r"#ifdef __CUDACC_RTC__.*?#include <cuda\.h>\n#endif\n", re.DOTALL)
_TYPES = """\
typedef signed char int8_t;
typedef unsigned char uint8_t;
typedef short int16_t;
typedef unsigned short uint16_t;
typedef int int32_t;
typedef unsigned int uint32_t;
typedef long long int64_t;
typedef unsigned long long uint64_t;
"""


class Jetson(GpuTarget):
    """CUDA C++ for NVIDIA Jetson boards."""

    family: ClassVar[str] = "jetson"
    backend: ClassVar[str] = "cuda"
    description: ClassVar[str] = "NVIDIA Jetson boards through the CUDA driver; PTX for newer NVIDIA GPUs"

    @property
    def archs(self) -> tuple[str, ...]:
        """GPU architectures that get a cubin, oldest first."""
        return tuple(self.device.facts["archs"])

    @property
    def tvm_target(self) -> Any:
        limits = self.limits
        return tvm.target.Target(
            {
                "kind": "cuda",
                "arch": self.archs[0],
                "max_num_threads": limits.threads,
                "max_threads_per_block": limits.threads,
                "max_shared_memory_per_block": limits.local_bytes,
            },
            host="llvm",
        )

    def kernel_source(self, kernel: Kernel) -> str:
        params = ", ".join(
            param if written else f"const {param}" for param, written in zip(kernel.params, kernel.written, strict=True)
        )
        threads = kernel.block[0] * kernel.block[1] * kernel.block[2]
        # Two blocks a multiprocessor: without a number ptxas saves registers for more and spills here and there.
        head = f'extern "C" __global__ void __launch_bounds__({threads}, 2)\n{kernel.name}({params})'
        return f"{head} {{\n{kernel.body}}}\n"

    def source(self, generated: Generated) -> str:
        """The CUDA C++ that NVRTC compiles."""
        prelude = _STANDARD_HEADERS.sub(_TYPES, generated.prelude)
        kernels = "\n".join(self.kernel_source(kernel) for kernel in generated.kernels)
        functions = gpu_dot.source_of(gpu_dot.CUDA, kernels) + gpu_pairs.source_of(kernels)
        return prelude + "\n" + functions + kernels

    def assemble(self, generated: Generated) -> Code:
        source = self.source(generated)
        cubins = tuple(Image("cubin", arch, (), "", compile_cuda(source, arch)) for arch in self.archs)
        newest = self.archs[-1].replace("sm_", "compute_")
        ptx = Image("ptx", self.archs[-1], (), "", compile_cuda(source, newest))
        return Code({}, (Module("kernels", (*cubins, ptx)),))
