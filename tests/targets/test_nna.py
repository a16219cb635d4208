"""Whole networks on Ethos-U targets: compiled, saved, loaded, run on the simulated device."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import tilewright
from tests.frontend.quantized import models
from tests.runtime.conftest import CMakeBuild, cmake_build
from tilewright.artifact import Artifact
from tilewright.errors import ToolError, UsageError
from tilewright.frontend.quantized import offload
from tilewright.integer.network import run
from tilewright.lower.ethosu import CAPABILITIES, compile_network
from tilewright.passes.execution import runner
from tilewright.runtime import Session, native, nna

pytest.importorskip("ethosu.vela", reason="no Vela: pip install 'tilewright[nna]'")

__all__ = ["cmake_build"]  # a fixture

DEVICES = ("nna-ethos-u55-128", "nna-ethos-u55-256", "nna-ethos-u65-256", "nna-ethos-u65-512")


@pytest.mark.parametrize("device", DEVICES)
def test_a_network_of_integers(device: str, tmp_path: Path) -> None:
    """Bit-exact with the integer reference: the result is its accumulators times float scales."""
    path = tmp_path / "model.tw"
    tilewright.compile(models.residual(), device).save(path)
    session = Session(path)
    assert session.device.endswith("and a simulated NNA")
    (name,) = (tensor.name for tensor in session.outputs)
    made = offload(models.load(models.residual()), lambda network: compile_network(network, device[4:]))
    ((_, network, _),) = made.parts
    scales = made.model.graph.initializers[f"{name}.scales"].const_value
    assert scales is not None
    random = np.random.default_rng(0)
    for _ in range(3):
        x = random.uniform(-2.5, 2.5, (1, 4, 12, 12)).astype(np.float32)
        integers = np.clip(np.rint(x / np.float32(0.02)) + 128, 0, 255)[0].transpose(1, 2, 0)
        (want,) = run(network, [integers])
        got = session.run({"x": x})[name]
        np.testing.assert_array_equal(got, want.reshape(1, -1).astype(np.float32) * scales.numpy())


def test_integers_of_sixteen_bits(tmp_path: Path) -> None:
    """Likewise."""
    path, model = tmp_path / "model.tw", models.fake_quantized(16)
    artifact = tilewright.compile(model, "nna-ethos-u65-512")
    artifact.save(path)
    assert [layer["output_bits"] for part in artifact.metadata["nna"]["parts"] for layer in part["layers"]] == [
        16, 16, 32
    ]  # fmt: skip
    session = Session(path)
    (name,) = (tensor.name for tensor in session.outputs)
    made = offload(models.load(model), lambda network: compile_network(network, "ethos-u65-512"), CAPABILITIES)
    ((_, network, _),) = made.parts
    scales = made.model.graph.initializers[f"{name}.scales"].const_value
    assert scales is not None
    x = np.random.default_rng(0).uniform(-1, 1, (1, 4, 8, 8)).astype(np.float32)
    integers = np.clip(np.rint(x / np.float32(2 / (2**16 - 1))), -(2**15), 2**15 - 1)[0].transpose(1, 2, 0)
    (want,) = run(network, [integers])
    np.testing.assert_array_equal(session.run({"x": x})[name], want.reshape(1, -1).astype(np.float32) * scales.numpy())


def test_concatenation_and_resizing(tmp_path: Path) -> None:
    """Against onnxruntime, which computes in float between quantizations: at most a step of the output's scale, and one
    for that of its inputs."""
    artifact, path = tilewright.compile(models.joined(), "nna-ethos-u65-256"), tmp_path / "model.tw"
    assert artifact.metadata["nna"]["host"] == {}
    artifact.save(path)
    x = np.random.default_rng(1).uniform(-2.5, 2.5, (1, 4, 8, 8)).astype(np.float32)
    (want,) = runner(models.load(models.joined()))({"x": x}).values()
    (got,) = Session(path).run({"x": x}).values()
    assert np.abs(got - want).max() <= 2 * 0.02 + 1e-6
    assert np.unique(want).size > 50
    host = tilewright.compile(models.joined((2, 1)), "nna-ethos-u65-256").metadata["nna"]["host"]
    assert list(host.values()) == ["its factors (2, 1) are no equal powers of two"]


def test_the_host_computes_what_the_device_cannot(tmp_path: Path) -> None:
    """Against onnxruntime, which computes in float between quantizations: at most two steps of the output's scale."""
    artifact = tilewright.compile(models.interrupted(), "nna-ethos-u55-128")
    assert list(artifact.metadata["nna"]["host"].values()) == ["its operator has no integer form"]
    assert [len(part["layers"]) for part in artifact.metadata["nna"]["parts"]] == [1, 2]
    path = tmp_path / "model.tw"
    artifact.save(path)
    x = np.random.default_rng(1).uniform(-2.5, 2.5, (1, 4, 6, 6)).astype(np.float32)
    (want,) = runner(models.load(models.interrupted()))({"x": x}).values()
    (got,) = Session(path).run({"x": x}).values()
    assert np.abs(got - want).max() <= 2 * 0.005 + 1e-6


def test_float_networks_run_on_the_host(tmp_path: Path) -> None:
    q = models.Qdq()
    x = q.input(1, 4, 6, 6)
    y = q.conv(x, 8, 4)
    model = q.build({y: (1, 8, 6, 6)})
    artifact = tilewright.compile(model, "nna")
    assert artifact.plan.target == "nna-ethos-u55-128"
    assert artifact.metadata["nna"]["parts"] == []
    path = tmp_path / "model.tw"
    artifact.save(path)
    data = np.random.default_rng(1).normal(size=(1, 4, 6, 6)).astype(np.float32)
    (want,) = runner(models.load(model))({"x": data}).values()
    np.testing.assert_allclose(next(iter(Session(path).run({"x": data}).values())), want, rtol=1e-4, atol=1e-5)


def test_streams_disassemble(tmp_path: Path) -> None:
    artifact = tilewright.compile(models.residual(), "nna")
    (payload,) = (image.data for module in artifact.plan.modules for image in module.images if image.kind == "ethosu")
    lines = nna.disassemble(payload)
    operations = [line.split()[1] for line in lines if "NPU_OP" in line and "WAIT" not in line and "DMA" not in line]
    assert operations == [
        "NPU_OP_CONV", "NPU_OP_DEPTHWISE", "NPU_OP_CONV", "NPU_OP_ELEMENTWISE", "NPU_OP_POOL", "NPU_OP_CONV",
        "NPU_OP_CONV", "NPU_OP_STOP",
    ]  # fmt: skip
    assert lines[-1].split()[0] == f"{4 * (len(payload) // 4 - 1) - 32:06x}"


def test_a_damaged_stream_is_refused_at_run() -> None:
    artifact = tilewright.compile(models.residual(), "nna")
    (number,) = (n for n, module in enumerate(artifact.plan.modules) if module.images[0].kind == "ethosu")
    module = artifact.plan.modules[number]
    data = bytearray(module.images[0].data)
    at = data.index(b"COP1") + 4 * 8  # the first command
    data[at : at + 4] = (0xFFFFFFFF).to_bytes(4, "little")
    damaged = replace(module, images=(replace(module.images[0], data=bytes(data)),))
    modules = (*artifact.plan.modules[:number], damaged, *artifact.plan.modules[number + 1 :])
    session = Session(replace(artifact, plan=replace(artifact.plan, modules=modules)).to_bytes())
    with pytest.raises(tilewright.errors.TilewrightError, match=r"kernel 'stream'.*unknown command 0xffffffff"):
        session.run({"x": np.zeros((1, 4, 12, 12), np.float32)})


def test_the_simulator_may_be_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TILEWRIGHT_NNA", str(tmp_path / "none.so"))
    with pytest.raises(OSError, match=r"none\.so"):
        nna._library.__wrapped__()
    monkeypatch.delenv("TILEWRIGHT_NNA")
    monkeypatch.setattr(native, "__file__", str(tmp_path / "native.py"))
    with pytest.raises(ToolError, match="not built"):
        nna.library_path()


def test_apps_run_streams_too(cmake_build: CMakeBuild, tmp_path: Path) -> None:
    """The runtime in an app finds the simulator among the system's libraries, and says so where it does not."""
    folder = cmake_build("nna", "-DTILEWRIGHT_TOOLS=ON", "-DTILEWRIGHT_NNA=ON")
    path = tmp_path / "model.tw"
    tilewright.compile(models.residual(), "nna").save(path)
    environment = {key: value for key, value in os.environ.items() if key != "TILEWRIGHT_NNA"}
    command = [folder / "tw_run", path]
    without = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert without.returncode == 1
    assert "its simulator libtilewright_nna was not found" in without.stderr
    environment["LD_LIBRARY_PATH"] = str(folder)
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert "simulated NNA" in done.stdout + done.stderr


def test_half_precision_is_refused() -> None:
    with pytest.raises(UsageError, match="computes in integers"):
        tilewright.compile(models.residual(), "nna", recipe={"precision": "fp16"})


def test_artifacts_load_again(tmp_path: Path) -> None:
    artifact = tilewright.compile(models.residual(), "nna")
    path = tmp_path / "model.tw"
    artifact.save(path)
    assert Artifact.load(path).plan.text() == artifact.plan.text()
