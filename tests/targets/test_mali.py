"""The Mali target: its source text, its numbers on PoCL, and what other tools say of the source."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import tilewright
from tests.conftest import Golden
from tests.models import make_model, small_cnn
from tests.targets.gpu import conv_and_dense, floats, gated_net, needs_opencl, residual_net
from tests.targets.oclgrind import simulate
from tests.targets.running import expected
from tilewright.artifact import Artifact
from tilewright.plan import BufferKind, Plan
from tilewright.runtime import Session
from tilewright.targets import device_facts, device_names, resolve

FLOAT, HALF = TensorProto.FLOAT, TensorProto.FLOAT16
MALIS = [name for name in device_names() if name.split("-")[0] == "mali"]


def source(plan: Plan) -> str:
    ((image,),) = (module.images for module in plan.modules)
    return image.data.decode()


def compiled(model: onnx.ModelProto, device: str = "mali-g52", precision: str = "fp32") -> Artifact:
    return tilewright.compile(model, target=resolve(device, precision))


def widened(artifact: Artifact) -> Artifact:
    """The same kernels with every half made a float, for a device without cl_khr_fp16: logic, not rounding."""
    plan = artifact.plan
    text = re.sub(r"#pragma OPENCL EXTENSION cl_khr_fp16.*\n", "", source(plan))
    text = re.sub(r"\bconvert_half(\d*)\b", r"convert_float\1", re.sub(r"\bhalf(\d*)\b", r"float\1", text))
    text = "#define vload_half(i, p) ((p)[i])\n" + text
    buffers = []
    for buffer in plan.buffers:
        data = buffer.data.astype("float32") if buffer.data is not None and buffer.dtype == "float16" else buffer.data
        dtype = {"float16": "float32"}.get(buffer.dtype, buffer.dtype)
        shape = (2 * buffer.shape[0],) if "workspace" in buffer.name else buffer.shape  # bytes: halves become floats
        offset = 2 * buffer.offset if buffer.kind is BufferKind.ARENA else buffer.offset
        buffers.append(replace(buffer, dtype=dtype, data=data, shape=shape, offset=offset))
    (module,) = plan.modules
    image = replace(module.images[0], data=text.encode(), features=())
    modules = (replace(module, images=(image,)),)
    wide = replace(plan, buffers=tuple(buffers), modules=modules, arena_bytes=2 * plan.arena_bytes)
    return Artifact(wide, artifact.metadata)


def run(artifact: Artifact, x: np.ndarray) -> np.ndarray:
    with Session(artifact.to_bytes()) as session:
        return np.array(session.run({"x": x})["y"])


@pytest.mark.parametrize("device", MALIS)
def test_device_facts_are_complete(device: str) -> None:
    facts = device_facts(device)
    assert facts["registers"] == 64  # both Bifrost and Valhall
    assert facts["local_memory_bytes"] == 32 * 1024
    assert facts["work_group_size"] % facts["warp_width"] == 0
    assert facts["accumulators"] < facts["registers"]
    assert facts["cores"][0] <= facts["cores"][1]
    assert isinstance(facts["dot_product"], bool)


def test_a_bare_family_name_is_a_generic_device() -> None:
    generic, known = device_facts("mali"), [device_facts(name) for name in MALIS]
    assert resolve("mali").device.name == "mali"
    assert generic["max_work_group_size"] == min(facts["max_work_group_size"] for facts in known)
    assert not generic["dot_product"]


def test_source_of_a_convolution_and_a_dense_layer(golden: Golden) -> None:
    golden("mali.conv_dense.cl", source(compiled(conv_and_dense()).plan))


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_every_kernel_states_its_group_size_and_what_it_only_reads(precision: str) -> None:
    artifact = compiled(residual_net(), precision=precision)
    text = source(artifact.plan)
    found = re.findall(r"reqd_work_group_size\(([\d, ]+)\)\)\)\nvoid (\w+)\(([^)]*)\)", text)
    by_name = {name: (tuple(map(int, size.split(", "))), params) for size, name, params in found}
    assert text.count("__kernel") == len(by_name)
    for launch in artifact.plan.launches:
        size, params = by_name[launch.kernel]
        assert launch.block == size
        assert np.prod(size) <= 256
        assert len(params.split(",")) == len(launch.args)
        read_only = [
            plan_buffer.kind in (BufferKind.CONSTANT, BufferKind.INPUT)
            for plan_buffer in (artifact.plan.buffers[arg] for arg in launch.args)
        ]
        for param, never_written in zip(params.split(","), read_only, strict=True):
            assert "restrict" in param
            assert "const" in param or not never_written
    assert ("cl_khr_fp16 : enable" in text) == (precision == "fp16")


def test_network_on_opencl_equals_onnxruntime() -> None:
    needs_opencl()
    model, x = residual_net(), floats(1, 3, 28, 28)
    # float32 sums in another order
    np.testing.assert_allclose(run(compiled(model), x), expected(model, {"x": x})["y"], rtol=1e-4, atol=1e-6)


def test_inputs_may_have_numbers_for_names() -> None:
    """As older exporters name them; parameters of kernels may not."""
    needs_opencl()
    node = helper.make_node("Relu", ["0"], ["1"], name="2")
    model, x = make_model([node], {"0": (FLOAT, [1, 24])}, {"1": (FLOAT, [1, 24])}, {}), floats(1, 24)
    with Session(compiled(model).to_bytes()) as session:
        np.testing.assert_array_equal(session.run({"0": x})["1"], np.maximum(x, 0))


def test_half_precision_keeps_inputs_and_outputs_in_float() -> None:
    plan = compiled(residual_net(), precision="fp16").plan
    assert {plan.buffers[index].dtype for index in (*plan.inputs, *plan.outputs)} == {"float32"}
    assert {buffer.dtype for buffer in plan.constants()} == {"float16"}


def test_half_precision_computes_the_same_network() -> None:
    """Constants are rounded to half: 2^-11 of each weight through five layers; sums are exact here."""
    needs_opencl()
    model, x = residual_net(), floats(1, 3, 28, 28)
    got = run(widened(compiled(model, precision="fp16")), x)
    np.testing.assert_allclose(got, expected(model, {"x": x})["y"], rtol=1e-2, atol=1e-3)


def test_half_precision_takes_kernels_that_come_as_tir() -> None:
    """Constants are rounded to half: 2^-11 of each weight through three layers; sums are exact here."""
    needs_opencl()
    model, x = gated_net(), floats(1, 3, 12, 12)
    artifact = compiled(model, precision="fp16")
    assert any("hard_sigmoid" in launch.kernel for launch in artifact.plan.launches)
    assert {buffer.dtype for buffer in artifact.plan.constants()} == {"float16"}
    np.testing.assert_allclose(run(widened(artifact), x), expected(model, {"x": x})["y"], rtol=1e-2, atol=5e-3)


def test_half_precision_source_is_valid_opencl(tmp_path: Path) -> None:
    clang = shutil.which("clang")
    if clang is None:
        pytest.skip("no clang; install it with: apt-get install clang")
    path = tmp_path / "half.cl"
    path.write_text(source(compiled(residual_net(), precision="fp16").plan))
    flags = ["-cl-std=CL1.2", "-target", "spir64", "-Xclang", "-cl-ext=-all,+cl_khr_fp16", "-fsyntax-only"]
    done = subprocess.run([clang, *flags, str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_oclgrind_finds_no_race_and_no_bad_access(tmp_path: Path) -> None:
    model, x = small_cnn(), floats(1, 3, 16, 16)
    got = simulate(compiled(model), {"x": x}, tmp_path)
    np.testing.assert_allclose(got["y"], expected(model, {"x": x})["y"], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("operator", ["Acos", "Asin", "Atan", "Acosh", "Asinh", "Atanh", "Sinh", "Cosh", "Tan"])
def test_functions_have_opencl_names(operator: str) -> None:
    """1e-6 absolute: OpenCL allows 5 units in the last place of results up to 2."""
    needs_opencl()
    node = onnx.helper.make_node(operator, ["x"], ["y"], name="function")
    tensor = (onnx.TensorProto.FLOAT, [1, 64])
    model = make_model([node], {"x": tensor}, {"y": tensor})
    x = np.linspace(-0.9, 0.9, 64, dtype="float32")[None]
    x = np.abs(x) + 1 if operator == "Acosh" else x
    np.testing.assert_allclose(run(compiled(model), x), expected(model, {"x": x})["y"], rtol=0, atol=1e-6)


def test_extensions_are_demanded_of_the_device() -> None:
    for precision, wanted in (("fp32", ()), ("fp16", ("cl_khr_fp16",))):
        ((image,),) = (module.images for module in compiled(small_cnn(), precision=precision).plan.modules)
        assert image.features == wanted


def test_stored_halves_need_no_extension() -> None:
    """All halves there are, through a kernel that only widens them: no cl_khr_fp16, and no bit is lost."""
    halves = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    wide = halves[np.isfinite(halves)].reshape(1, -1)
    nodes = [
        helper.make_node("Cast", ["w"], ["f"], to=FLOAT),
        helper.make_node("Mul", ["x", "f"], ["y"]),
    ]
    size = wide.shape[1]
    model = make_model(nodes, {"x": (FLOAT, [1, size]), "w": (HALF, [1, size])}, {"y": (FLOAT, [1, size])}, {})
    artifact = compiled(model)
    ((image,),) = (module.images for module in artifact.plan.modules)
    assert image.features == ()
    assert "vload_half(" in source(artifact.plan)
    needs_opencl()
    with Session(artifact.to_bytes()) as session:
        got = session.run({"x": np.ones((1, size), np.float32), "w": wide})["y"]
    np.testing.assert_array_equal(got, wide.astype(np.float32))
