"""The Jetson target: source, cubins, what ptxas says, and the kernels' numbers through an emulation on the CPU."""

from __future__ import annotations

import dataclasses
import importlib.util
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import tilewright
from tests.conftest import Golden
from tests.targets.cuda import cuda_sources, emulated
from tests.targets.gpu import conv_and_dense, floats, gated_net, needs_nvrtc, residual_net
from tests.targets.running import expected
from tilewright.errors import ToolError
from tilewright.plan import Plan
from tilewright.targets import device_facts, device_names, resolve
from tilewright.targets.nvrtc import compile_cuda, kernel_resources

BOARDS = {"jetson-nano": "sm_53", "jetson-tx2": "sm_62", "jetson-xavier": "sm_72", "jetson-orin": "sm_87"}


sources = cuda_sources


def compiled(model: onnx.ModelProto, device: str, precision: str = "fp32") -> Plan:
    return tilewright.compile(model, target=resolve(device, precision)).plan


def test_every_board_has_its_architecture() -> None:
    boards = {name: tuple(device_facts(name)["archs"]) for name in device_names() if name.startswith("jetson-")}
    assert boards == {name: (arch,) for name, arch in BOARDS.items()}
    assert tuple(device_facts("jetson")["archs"]) == tuple(BOARDS.values())


def test_a_board_gets_its_cubin_and_ptx_the_family_all(sources: list[str]) -> None:
    for device, archs in {**{name: (arch,) for name, arch in BOARDS.items()}, "jetson": tuple(BOARDS.values())}.items():
        ((module,),) = (compiled(conv_and_dense(), device).modules,)
        wanted = [("cubin", arch, arch) for arch in archs] + [("ptx", archs[-1], archs[-1].replace("sm", "compute"))]
        assert [(image.kind, image.arch, image.data.decode()) for image in module.images] == wanted


def test_source_of_a_convolution_and_a_dense_layer(sources: list[str], golden: Golden) -> None:
    compiled(conv_and_dense(), "jetson-nano")
    golden("jetson.conv_dense.cu", sources[0])


def test_blocks_are_as_large_as_stated_and_read_only_data_is_const(sources: list[str]) -> None:
    plan = compiled(residual_net(), "jetson-nano")
    found = re.findall(r"__launch_bounds__\((\d+), \d+\)\n(\w+)\(([^)]*)\)", sources[0])
    kernels = {name: (int(threads), params.split(",")) for threads, name, params in found}
    for launch in plan.launches:
        threads, params = kernels[launch.kernel]
        assert math.prod(launch.block) == threads <= 256
        for param, arg in zip(params, launch.args, strict=True):
            assert "const" in param or plan.buffers[arg].data is None


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("arch", BOARDS.values())
def test_no_kernel_spills(sources: list[str], monkeypatch: pytest.MonkeyPatch, arch: str, precision: str) -> None:
    needs_nvrtc()
    device = next(name for name, its in BOARDS.items() if its == arch)
    plan = compiled(residual_net(), device, precision)
    found = kernel_resources(compile_cuda(sources[0], arch.replace("sm", "compute")), arch)
    assert {launch.kernel for launch in plan.launches} <= set(found)
    for name, used in found.items():
        assert used.spill_bytes == 0, name
        assert used.stack_bytes == 0, name
        assert used.shared_bytes <= 48 * 1024, name


def test_half_precision_takes_kernels_that_come_as_tir(sources: list[str]) -> None:
    needs_nvrtc()
    plan = compiled(gated_net(), "jetson-nano", "fp16")
    assert {plan.buffers[index].dtype for index in (*plan.inputs, *plan.outputs)} == {"float32"}
    assert {buffer.dtype for buffer in plan.constants()} == {"float16"}
    found = kernel_resources(compile_cuda(sources[0], "compute_53"), "sm_53")
    assert {launch.kernel for launch in plan.launches} == set(found)
    assert any("hard_sigmoid" in name for name in found)
    assert not any(used.spill_bytes for used in found.values())


def test_all_cubins_are_made() -> None:
    needs_nvrtc()
    ((module,),) = (compiled(conv_and_dense(), "jetson").modules,)
    *cubins, ptx = module.images
    assert all(image.data.startswith(b"\x7fELF") for image in cubins)
    assert b".target sm_87" in ptx.data


def test_without_nvrtc_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    original = importlib.util.find_spec

    def find_spec(name: str, package: str | None = None) -> Any:
        return None if name.startswith("nvidia") else original(name, package)

    monkeypatch.setattr(importlib.util, "find_spec", find_spec)
    with pytest.raises(ToolError, match=r"pip install tilewright\[cuda\]"):
        compile_cuda("", "sm_53")


def test_kernels_compute_the_network_when_emulated(sources: list[str], tmp_path: Path) -> None:
    """The CUDA source compiled as C++, with threads of the system: shows that it is right in itself."""
    model = conv_and_dense()
    plan = compiled(model, "jetson-nano")
    x = floats(1, 8, 8, 8)
    got = emulated(plan, sources[0], x, tmp_path)
    # float32 sums in another order
    np.testing.assert_allclose(got, expected(model, {"x": x})["y"], rtol=1e-4, atol=1e-5)


def test_devices_are_described() -> None:
    assert all(dataclasses.is_dataclass(resolve(name).device) and device_facts(name)["description"] for name in BOARDS)
