"""Dot products of bytes in every spelling that a device's compiler may choose."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import tilewright
from tests.targets.cuda import cuda_sources, emulated
from tests.targets.gpu import needs_nvrtc, needs_opencl
from tests.targets.schedules.compressed_layers import (
    Array,
    Conv,
    activations,
    assert_close,
    bytes_of,
    convolution,
    integers,
    packed,
    product,
    product_reference,
)
from tilewright.formats.packed import PackedWeight
from tilewright.runtime import Session
from tilewright.targets import device_facts
from tilewright.targets.nvrtc import kernel_resources
from tilewright.targets.schedules.gpu_dot import CUDA, OPENCL

sources = cuda_sources

# What a driver with these extensions has, in plain OpenCL C.
_BUILT_INS = {
    "cl_arm_integer_dot_product_int8": "int arm_dot(char4 a, char4 b) {{ {sum}; }}",
    "cl_arm_integer_dot_product_accumulate_int8": "int arm_dot_acc(char4 a, char4 b, int c) {{ {sum} + c; }}",
    "__opencl_c_integer_dot_product_input_4x8bit_packed": (
        "int dot_4x8packed_ss_int(uint x, uint y) {{ char4 a = as_char4(x), b = as_char4(y); {sum}; }}"
    ),
}
_SUM = "return a.x * b.x + a.y * b.y + a.z * b.z + a.w * b.w"


def layer() -> tuple[PackedWeight, Array, tuple[Array, Array]]:
    """int5 blocks, activations, and what they come to."""
    weight, x = packed(integers(12, 44, 5), "block_sparse(4,4) int5", 0.5), activations(2, 44)
    q, scale, zero = bytes_of(x, dynamic=False)
    return weight, x, product_reference(weight, (q.astype(np.float32) - zero) * scale)


@pytest.mark.parametrize("macro", _BUILT_INS)
def test_extensions_of_opencl(macro: str) -> None:
    """The names of extensions are those of the Khronos registry; their functions are emulated here."""
    needs_opencl()
    weight, x, wanted = layer()
    artifact = tilewright.compile(product(weight, (2,), quantized="static"), "mali-g78")
    (module,) = artifact.plan.modules
    body = _BUILT_INS[macro].format(sum=_SUM)
    name = body.split("(")[0].split()[-1]
    text = f"#define {macro}\nstatic inline {body}\n{module.images[0].data.decode()}"
    assert text.count(f"{name}(") >= 2
    images = (replace(module.images[0], data=text.encode()),)
    plan = replace(artifact.plan, modules=(replace(module, images=images),))
    with Session(replace(artifact, plan=plan).to_bytes()) as session:
        assert_close(session.run({"x": x})["y"], wanted)


def test_only_kernels_that_multiply_bytes_bring_the_functions() -> None:
    for kind in ("", "static"):
        artifact = tilewright.compile(product(layer()[0], (2,), quantized=kind), "mali-g78")
        (module,) = artifact.plan.modules
        assert (OPENCL in module.images[0].data.decode()) == bool(kind)


@pytest.mark.parametrize("arch", [0, 870])
def test_cuda_emulated(sources: list[str], arch: int, tmp_path: Path) -> None:
    """As C++, with __dp4a in plain arithmetic for newer GPUs, and without for older ones."""
    weight, x, wanted = layer()
    plan = tilewright.compile(product(weight, (2,), quantized="dynamic" if arch else "static"), "jetson-orin").plan
    if arch:
        q, scale, zero = bytes_of(x, dynamic=True)
        wanted = product_reference(weight, (q.astype(np.float32) - zero) * scale)
    assert CUDA in sources[0]
    assert_close(emulated(plan, sources[0], x, tmp_path, arch), wanted)


def test_ptxas_spills_nothing_and_new_gpus_get_the_instruction() -> None:
    needs_nvrtc()
    conv = Conv(64, (8, 8))
    for device in ("jetson-nano", "jetson-tx2", "jetson-xavier", "jetson-orin"):
        facts = device_facts(device)
        (arch,) = facts["archs"]
        models = [product(packed(integers(64, 256, 5), "int5(group=32)"), (1,), quantized="dynamic")]
        if facts["dot_product"]:
            models.append(convolution(packed(integers(64, 64, 4), "block_sparse(8,8) int4", 0.25), conv, "static"))
        for model in models:
            ((module,),) = (tilewright.compile(model, device).plan.modules,)
            ptx = next(image.data for image in module.images if image.kind == "ptx")
            # For sm_62 the compiler makes one of plain arithmetic, too; its assembler emulates it.
            assert (b"dp4a.s32" in ptx) == (arch != "sm_53")
            for name, used in kernel_resources(ptx, arch).items():
                assert used.spill_bytes == used.stack_bytes == 0, name
                assert used.shared_bytes <= 32 * 1024, name
